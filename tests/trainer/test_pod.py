from pathlib import Path

from finetune_trainer.pod import PodPaths


def test_a_cache_that_is_mounted_is_shared_by_runs(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    assert PodPaths(work=tmp_path / "work", cache=tmp_path / "cache").places.cache == tmp_path / "cache"


def test_without_one_downloads_lie_in_the_scratch_space_of_the_pod(tmp_path: Path) -> None:
    places = PodPaths(work=tmp_path / "work", cache=tmp_path / "absent").places
    assert places.cache == tmp_path / "work/cache"


def test_a_pod_never_reaches_the_network_that_it_stands_in() -> None:
    assert not PodPaths().places.private_addresses
