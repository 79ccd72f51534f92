import os
import stat
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.errors import InvalidModel, InvalidSpec
from finetune_trainer.places import Places
from finetune_trainer.publishing import LATEST, open_target, published_model, target_of, versions
from tests.trainer.publishing.places import Volume, opened, published, run_file


def test_everybody_may_read_what_is_published(volume: Volume) -> None:
    before = os.umask(0o077)
    try:
        published(volume)
    finally:
        os.umask(before)
    (version,) = (p for p in volume.folder.iterdir() if p.is_dir())
    modes = {stat.S_IMODE(p.stat().st_mode) for p in version.rglob("*") if p.is_file()}
    assert modes == {0o644}
    assert stat.S_IMODE((volume.folder / LATEST).stat().st_mode) == 0o644
    assert {stat.S_IMODE(p.stat().st_mode) for p in (version, version / "1_Pooling")} == {0o755}


def test_without_output_there_is_no_target(volume: Volume) -> None:
    file = run_file(volume)
    without = file.model_copy(update={"spec": file.spec.model_copy(update={"output": None})})
    assert open_target(without, volume.places) is None


def test_a_missing_volume_is_named(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="'models'"):
        target_of(run_file(volume), Places(volumes={}, secrets=tmp_path, work=tmp_path))


def test_files_of_other_people_stay(volume: Volume) -> None:
    volume.folder.mkdir()
    (volume.folder / "notes.txt").write_text("mine")
    (volume.folder / "7-0123456789ab").mkdir()  # looks like a version, but nobody's
    for run in range(1, 4):
        published(volume, f"w{run}", run=run)
    assert [v.run for v in versions(opened(volume))] == [2, 3]
    assert (volume.folder / "notes.txt").exists()
    assert (volume.folder / "7-0123456789ab").exists()


def test_a_published_model_that_was_changed_is_not_used(volume: Volume) -> None:
    artifact = published(volume)
    (volume.folder / artifact.uri.rpartition("/")[2] / "model.safetensors").write_text("other")
    with pytest.raises(InvalidModel, match=f"must have digest {artifact.digest}"):
        published_model(opened(volume, run=2))


def test_file_systems_without_links_or_folder_flushes_work_too(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def no_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        flush(handle)

    def no_links(*_: Any, **__: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", no_folders)
    monkeypatch.setattr(os, "link", no_links)
    artifact = published(volume)
    assert volume.latest()["uri"] == artifact.uri
