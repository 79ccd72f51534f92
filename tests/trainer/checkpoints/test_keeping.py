"""Which checkpoints are kept and used, the same on a volume and in a bucket, whatever they hold."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from finetune_api.uris import StoreUri
from finetune_trainer.checkpoints import Checkpoints, Origin
from finetune_trainer.checkpoints.buckets import BucketCheckpoints
from finetune_trainer.checkpoints.folders import FolderCheckpoints
from finetune_trainer.checkpoints.store import CheckpointStore
from finetune_trainer.errors import SourceUnavailable
from finetune_trainer.sources.stores import open_store
from tests.trainer.servers.faults import Fault, running_faults
from tests.trainer.servers.programs import write_secret
from tests.trainer.servers.s3 import S3

ORIGIN = Origin("v1:abc", "sha256:model", "sha256:data", total_steps=100)
RUN = Path("team/search/u-1/1")


class Kept:
    """A store, and its files as whoever damages them finds them."""

    def __init__(self, store: CheckpointStore) -> None:
        self.store = store
        self.notes: list[str] = []

    def checkpoints(self, *, keep: int = 2) -> Checkpoints:
        self.notes = []
        return Checkpoints(self.store, keep=keep, every_seconds=900, note=self.notes.append)

    def files(self) -> list[str]:
        if isinstance(self.store, FolderCheckpoints):
            folder = self.store.folder
            return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        assert isinstance(self.store, BucketCheckpoints)
        return [found.key for found in self.store.store.list()]

    def read(self, name: str) -> bytes:
        if isinstance(self.store, FolderCheckpoints):
            return (self.store.folder / name).read_bytes()
        assert isinstance(self.store, BucketCheckpoints)
        return self.store.store.read(name) or b""

    def change(self, name: str, content: bytes | None) -> None:
        """Give a file other content; None removes it."""
        if isinstance(self.store, FolderCheckpoints):
            path = self.store.folder / name
            path.unlink() if content is None else path.write_bytes(content)
            return
        assert isinstance(self.store, BucketCheckpoints)
        self.store.store.delete([name])
        if content is not None:
            self.store.store.write(name, content)


@pytest.fixture(params=["folder", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "folder":
        return Kept(FolderCheckpoints(tmp_path / "claim", RUN))
    s3: S3 = request.getfixturevalue("s3")
    secret = write_secret(tmp_path / "secret", s3.keys())
    uri = StoreUri("s3", s3.make(), f"checkpoints/{RUN.as_posix()}")
    return Kept(BucketCheckpoints(open_store(uri, secret), tmp_path / "work"))


def write(step: int) -> Callable[[Path], dict[str, Any]]:
    def fill(folder: Path) -> dict[str, Any]:
        save_file({"w": torch.full((4,), float(step))}, folder / "weights-0.safetensors")
        return {"step": step}

    return fill


def save(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        assert checkpoints.save(step, ORIGIN, write(step))


def test_the_newest_is_used_and_as_many_are_kept_as_the_spec_says(kept: Kept) -> None:
    save(kept.checkpoints(keep=2), 10, 20, 30)
    assert {name.split("/")[0] for name in kept.files()} == {"step-20", "step-30"}
    later = kept.checkpoints()
    later.look()
    assert later.newest_step == 30
    found = later.find(ORIGIN)
    assert found is not None
    assert (found.step, found.finished, found.state, kept.notes) == (30, False, {"step": 30}, [])


def test_those_before_the_one_that_is_used_stay_as_long_as_there_is_room(kept: Kept) -> None:
    save(kept.checkpoints(keep=3), 10, 20)
    later = kept.checkpoints(keep=3)
    assert later.find(ORIGIN) is not None
    save(later, 30)
    assert {name.split("/")[0] for name in kept.files()} == {"step-10", "step-20", "step-30"}
    save(later, 40)
    assert {name.split("/")[0] for name in kept.files()} == {"step-20", "step-30", "step-40"}


def test_of_a_run_without_any_nothing_is_used(kept: Kept) -> None:
    checkpoints = kept.checkpoints()
    checkpoints.look()
    assert (checkpoints.newest_step, checkpoints.find(ORIGIN), kept.notes) == (None, None, [])


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("weights-0.safetensors", lambda content: content[:-3], "must have"),
        ("weights-0.safetensors", lambda content: content[:-1] + b"?", "is not what was written"),
        ("weights-0.safetensors", lambda _: None, "weights-0.safetensors is missing"),
        ("state.json", lambda _: None, "state.json is missing"),
        ("manifest.json", lambda content: content[:-3], "is not the one that was sealed"),
        ("manifest.json", lambda _: None, "manifest.json is missing"),
        ("COMPLETE", lambda _: b"", "is not the one that was sealed"),
        ("COMPLETE", lambda _: None, ("COMPLETE is missing", "was not finished")),
    ],
)
def test_a_damaged_one_is_passed_over_for_the_one_before(
    kept: Kept, file: str, damage: Callable[[bytes], bytes | None], told: str | tuple[str, ...]
) -> None:
    save(kept.checkpoints(), 10, 20)
    kept.change(f"step-20/{file}", damage(kept.read(f"step-20/{file}")))
    checkpoints = kept.checkpoints()
    found = checkpoints.find(ORIGIN)
    assert found is not None
    assert (found.step, checkpoints.newest_step) == (10, 10)
    (note,) = kept.notes
    assert note.startswith("the checkpoint of step 20 is passed over: ")
    assert any(one in note for one in ((told,) if isinstance(told, str) else told))
    save(checkpoints, 15)
    assert {name.split("/")[0] for name in kept.files()} == {"step-10", "step-15"}


def test_a_manifest_that_was_sealed_and_cannot_be_read_is_damaged(kept: Kept) -> None:
    import hashlib

    save(kept.checkpoints(), 10)
    for text in (b"{", b"[]", b'{"version": 2}', b'{"version": 1, "files": {"../x": {"bytes": 0}}}'):
        kept.change("step-10/manifest.json", text)
        kept.change("step-10/COMPLETE", hashlib.sha256(text).hexdigest().encode())
        assert kept.checkpoints().find(ORIGIN) is None
        assert len(kept.notes) == 1, text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spec_hash": "v1:other"}, "spec"),
        ({"model": "other"}, "base model"),
        ({"data": "other"}, "train data"),
        ({"total_steps": 7}, "steps"),
    ],
)
def test_one_of_another_spec_model_or_data_is_not_used_and_makes_room(
    kept: Kept, change: dict[str, Any], told: str
) -> None:
    save(kept.checkpoints(), 90)
    other = replace(ORIGIN, **change)
    checkpoints = kept.checkpoints()
    assert checkpoints.find(other) is None
    assert checkpoints.newest_step is None
    assert kept.notes == [f"the checkpoint of step 90 is passed over: it is of another run ({told})"]
    assert checkpoints.save(5, other, write(5))
    assert {name.split("/")[0] for name in kept.files()} == {"step-5"}


def test_one_that_was_left_half_written_is_told_and_removed_in_time(kept: Kept) -> None:
    save(kept.checkpoints(), 10)

    def killed(folder: Path) -> dict[str, Any]:
        (folder / "weights-0.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.checkpoints().save(20, ORIGIN, killed)
    if isinstance(kept.store, BucketCheckpoints):
        kept.store.store.write("step-20/weights-0.safetensors", b"half")
    checkpoints = kept.checkpoints()
    checkpoints.look()
    assert checkpoints.newest_step == 10
    found = checkpoints.find(ORIGIN)
    assert found is not None
    assert found.step == 10
    assert kept.notes == ["the checkpoint of step 20 is passed over: it was not finished"]
    save(checkpoints, 20)
    assert {name.split("/")[0] for name in kept.files()} == {"step-10", "step-20"}


def test_what_earlier_runs_left_is_removed_and_what_later_ones_have_stays(kept: Kept, tmp_path: Path) -> None:
    def sibling(run: str) -> Kept:
        if isinstance(kept.store, FolderCheckpoints):
            return Kept(replace(kept.store, run=RUN.with_name(run)))
        assert isinstance(kept.store, BucketCheckpoints)
        key = f"{kept.store.store.uri.key.rpartition('/')[0]}/{run}"
        store = kept.store.store.at(replace(kept.store.store.uri, key=key))
        return Kept(BucketCheckpoints(store, tmp_path / run))

    for run in ("2", "9", "10", "11"):
        save(sibling(run).checkpoints(), 5)
    save(kept.checkpoints(), 5)
    sibling("10").checkpoints().look()
    assert [bool(sibling(run).files()) for run in ("1", "2", "9", "10", "11")] == [False] * 3 + [True] * 2


def test_clearing_removes_the_run_and_nothing_else(kept: Kept) -> None:
    save(kept.checkpoints(), 10)
    checkpoints = kept.checkpoints()
    checkpoints.look()
    checkpoints.clear()
    assert (kept.files(), checkpoints.newest_step) == ([], None)


def test_clearing_a_volume_leaves_other_runs_and_the_volume(tmp_path: Path) -> None:
    for run in (RUN, RUN.with_name("2")):
        save(Checkpoints(FolderCheckpoints(tmp_path, run), keep=2, every_seconds=900, note=print), 10)
    for run, left in ((RUN, ["team"]), (RUN.with_name("2"), [])):
        FolderCheckpoints(tmp_path, run).clear()
        assert [path.name for path in tmp_path.iterdir()] == left


def test_a_full_disk_is_told_once_and_leaves_no_half(tmp_path: Path) -> None:
    kept = Kept(FolderCheckpoints(tmp_path, RUN))
    checkpoints = kept.checkpoints()
    save(checkpoints, 10)

    def full(folder: Path) -> dict[str, Any]:
        (folder / "weights-0.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    for step in (20, 30):
        assert not checkpoints.save(step, ORIGIN, full)
    (note,) = kept.notes
    assert note == (
        "the checkpoint of step 20 could not be written, the training goes on: StorageFailed: writing"
        f" checkpoints in {kept.store.where}: No space left on device (ENOSPC) at"
        f" {kept.store.where}/.unfinished.step-20"
    )
    assert {name.split("/")[0] for name in kept.files()} == {"step-10"}
    assert checkpoints.newest_step == 10
    assert not checkpoints.is_due()  # nor is it tried again at every step


def test_a_bucket_that_does_not_answer_is_told_while_saving_and_ends_a_run_that_looks_for_its_checkpoints(
    s3: S3, tmp_path: Path, pauses: list[float]
) -> None:
    with running_faults(s3.endpoint) as faults:
        secret = write_secret(tmp_path / "secret", s3.keys(AWS_ENDPOINT_URL=faults.url))
        kept = Kept(BucketCheckpoints(open_store(StoreUri("s3", s3.make(), "c"), secret), tmp_path / "work"))
        faults.always = Fault(status=503)
        checkpoints = kept.checkpoints()
        assert not checkpoints.save(10, ORIGIN, write(10))
        assert "the training goes on: StoreUnavailable" in kept.notes[0]
        with pytest.raises(SourceUnavailable):
            checkpoints.look()


def test_what_is_written_is_json_and_safetensors_alone(kept: Kept) -> None:
    save(kept.checkpoints(), 10)
    assert kept.files() == [
        f"step-10/{name}" for name in ("COMPLETE", "manifest.json", "state.json", "weights-0.safetensors")
    ]
    manifest = json.loads(kept.read("step-10/manifest.json"))
    assert set(manifest["files"]) == {"state.json", "weights-0.safetensors"}
