import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from finetune_api.report import Report
from finetune_api.run_file import RunFile
from finetune_api.status import Artifact
from finetune_trainer import durable
from finetune_trainer.digests import model_digest
from finetune_trainer.errors import InvalidModel, InvalidSpec, StorageFailed, TargetInUse
from finetune_trainer.places import Places
from finetune_trainer.publishing import (
    LATEST,
    Target,
    find_published,
    local_report,
    open_target,
    publish,
    published_model,
    versions,
)

SPEC: dict[str, Any] = {
    "model": {"uri": "pvc://data/model"},
    "data": {
        "train": [{"name": "t", "uri": "pvc://data/t.jsonl", "columns": {"query": "q", "positive": "p"}}],
        "eval": [{"name": "e", "uri": "pvc://data/e.jsonl", "columns": {"query": "q", "positive": "p"}}],
    },
    "evaluation": {"evaluators": [{"name": "v", "data": "e"}], "primary": {"evaluator": "v"}},
    "output": {"uri": "pvc://models/search/", "keep": 1},
}


def run_file(*, run: int = 1, uid: str = "u-1", name: str = "search", output: bool = True) -> RunFile:
    spec = SPEC if output else {k: v for k, v in SPEC.items() if k != "output"}
    return RunFile.model_validate(
        {"namespace": "team", "name": name, "uid": uid, "run": run, "specHash": "v1:0", "spec": spec}
    )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "models").mkdir()
    return Places(volumes={"models": tmp_path / "models"}, secrets=tmp_path, work=tmp_path)


@pytest.fixture
def folder(places: Places) -> Path:
    return places.volume("models") / "search"


def saved_model(tmp_path: Path, content: str = "weights") -> Path:
    model = tmp_path / f"saved-{content}"
    (model / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (model / "model.safetensors").write_text(content)
    (model / "model.safetensors").chmod(0o600)
    (model / "1_Pooling" / "config.json").write_text("{}")
    return model


def opened(places: Places, **changes: Any) -> Target:
    target = open_target(run_file(**changes), places)
    assert target is not None
    return target


class Clock:
    """Each version was finished a second after the one before."""

    seconds = 0


def extras(target: Target) -> Any:
    def files(artifact: Artifact) -> Mapping[str, bytes]:
        Clock.seconds += 1
        run = target.run
        report = Report(uid=run.uid, run=run.run, outcome="Succeeded", artifact=artifact)
        full = {
            "namespace": run.namespace,
            "name": run.name,
            "finished": f"{Clock.seconds:09}",
            "report": report.to_dict(),
        }
        return {"report.json": json.dumps(full).encode(), "README.md": b"# model\n"}

    return files


def published(places: Places, tmp_path: Path, content: str = "weights", **changes: Any) -> Artifact:
    target = opened(places, **changes)
    return publish(target, saved_model(tmp_path, content), extras(target))


def latest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / LATEST).read_text())
    return content


def test_a_version_is_named_by_run_and_digest_and_latest_points_to_it(
    places: Places, tmp_path: Path, folder: Path
) -> None:
    artifact = published(places, tmp_path)
    digest = model_digest(saved_model(tmp_path))
    assert artifact.uri == f"pvc://models/search/1-{digest.removeprefix('sha256:')[:12]}"
    assert artifact.report == f"{artifact.uri}/report.json"
    assert latest(folder) == {
        "uri": artifact.uri, "digest": digest,
        "namespace": "team", "name": "search", "uid": "u-1", "run": 1,
    }  # fmt: skip
    version = folder / artifact.uri.rpartition("/")[2]
    assert (version / "model.safetensors").read_text() == "weights"
    assert (version / "1_Pooling" / "config.json").exists()
    assert (version / "README.md").exists()
    assert model_digest(version) == digest  # what is trained from this version names it by the same digest


def test_everybody_may_read_what_is_published(places: Places, tmp_path: Path, folder: Path) -> None:
    before = os.umask(0o077)
    try:
        published(places, tmp_path)
    finally:
        os.umask(before)
    (version,) = (p for p in folder.iterdir() if p.is_dir())
    modes = {stat.S_IMODE(p.stat().st_mode) for p in version.rglob("*") if p.is_file()}
    assert modes == {0o644}
    assert stat.S_IMODE((folder / LATEST).stat().st_mode) == 0o644
    assert {stat.S_IMODE(p.stat().st_mode) for p in (version, version / "1_Pooling")} == {0o755}


def test_without_output_there_is_no_target(places: Places) -> None:
    assert open_target(run_file(output=False), places) is None


def test_a_missing_volume_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="'models'"):
        open_target(run_file(), Places(volumes={}, secrets=tmp_path, work=tmp_path))


def test_the_target_of_another_finetune_is_refused_before_anything_is_written(
    places: Places, tmp_path: Path, folder: Path
) -> None:
    published(places, tmp_path, name="other")
    before = sorted(p.name for p in folder.iterdir())
    with pytest.raises(TargetInUse, match="team/other"):
        open_target(run_file(), places)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_of_two_finetunes_with_one_empty_target_only_the_first_publishes(
    places: Places, tmp_path: Path, folder: Path
) -> None:
    slow = opened(places, name="slow")
    first = published(places, tmp_path, name="quick")
    with pytest.raises(TargetInUse):
        publish(slow, saved_model(tmp_path, "other"), extras(slow))
    assert latest(folder)["uri"] == first.uri
    assert sorted(p.name for p in folder.iterdir()) == sorted([first.uri.rpartition("/")[2], LATEST])


def test_a_latest_file_that_appears_at_the_last_moment_is_not_overwritten(
    places: Places, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = opened(places)
    foreign = {"namespace": "team", "name": "other", "uri": "x", "digest": "y", "uid": "z", "run": 1}
    link = durable._link_or_rename

    def late(aside: Path, path: Path) -> None:
        path.write_text(json.dumps(foreign))
        link(aside, path)

    monkeypatch.setattr(durable, "_link_or_rename", late)
    with pytest.raises(TargetInUse):
        publish(target, saved_model(tmp_path), extras(target))
    assert latest(folder) == foreign


def test_a_latest_file_that_is_not_ours_is_left_alone(places: Places, folder: Path) -> None:
    folder.mkdir()
    (folder / LATEST).write_text("[1]")
    with pytest.raises(TargetInUse, match="something else"):
        open_target(run_file(), places)
    assert (folder / LATEST).read_text() == "[1]"


def test_older_versions_beyond_keep_are_removed_and_other_files_stay(
    places: Places, tmp_path: Path, folder: Path
) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "7-0123456789ab").mkdir()  # looks like a version, but nobody's
    for run in range(1, 5):
        published(places, tmp_path, content=f"w{run}", run=run)
    kept = [v.run for v in versions(opened(places))]
    assert kept == [3, 4]
    assert (folder / "notes.txt").exists()
    assert (folder / "7-0123456789ab").exists()


def test_a_published_run_is_found_and_told_again(places: Places, tmp_path: Path) -> None:
    artifact = published(places, tmp_path)
    report = find_published(opened(places))
    assert report is not None
    assert report.artifact == artifact
    assert find_published(opened(places, run=2)) is None
    assert find_published(opened(places, uid="u-2")) is None


def test_an_old_run_told_again_does_not_move_latest_back(
    places: Places, tmp_path: Path, folder: Path
) -> None:
    published(places, tmp_path, "old", run=1)
    newest = published(places, tmp_path, "new", run=2)
    assert find_published(opened(places, run=1)) is not None
    assert latest(folder)["uri"] == newest.uri


def test_a_finetune_made_again_does_not_touch_the_version_of_its_forerunner(
    places: Places, tmp_path: Path, folder: Path
) -> None:
    old = published(places, tmp_path, uid="u-1")
    new = published(places, tmp_path, uid="u-2")
    assert new.uri == f"{old.uri}-u2"
    assert latest(folder)["uid"] == "u-2"
    assert {v.uid for v in versions(opened(places))} == {"u-1", "u-2"}


def test_the_published_model_is_the_one_that_latest_names(places: Places, tmp_path: Path) -> None:
    assert published_model(opened(places)) is None
    published(places, tmp_path, "one", run=1)
    published(places, tmp_path, "two", run=2)
    folder = published_model(opened(places, run=3))
    assert folder is not None
    assert (folder / "model.safetensors").read_text() == "two"


def test_a_published_model_that_was_changed_is_not_used(places: Places, tmp_path: Path, folder: Path) -> None:
    artifact = published(places, tmp_path)
    (folder / artifact.uri.rpartition("/")[2] / "model.safetensors").write_text("other")
    with pytest.raises(InvalidModel, match=f"must have digest {artifact.digest}"):
        published_model(opened(places, run=2))


def test_the_full_report_is_found_on_this_machine(places: Places, tmp_path: Path) -> None:
    target = opened(places)
    artifact = published(places, tmp_path)
    report = local_report(target, artifact)
    assert report is not None
    assert json.loads(report.read_text())["report"]["artifact"] == artifact.to_dict()
    assert local_report(target, artifact.model_copy(update={"uri": "pvc://models/search/9"})) is None


def test_a_full_disk_is_told_and_leaves_the_published_version_alone(
    places: Places, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = published(places, tmp_path, run=1)
    target = opened(places, run=2)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageFailed, match="ENOSPC"):
            publish(target, saved_model(tmp_path, "second"), extras(target))
    assert latest(folder)["uri"] == first.uri
    assert [v.run for v in versions(opened(places))] == [1]


def test_file_systems_without_links_or_folder_flushes_work_too(
    places: Places, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
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
    artifact = published(places, tmp_path)
    assert latest(folder)["uri"] == artifact.uri


class Crash(BaseException):
    """The process is killed here; nothing it does afterwards reaches the disk."""


class Disk:
    """Counts the operations that change a folder, and kills the process at one of them."""

    _CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.chmod", "os.truncate")

    def __init__(self) -> None:
        self.folder: str | None = None
        self.crash_at = 0
        self.operations = 0
        sys.addaudithook(self._seen)

    def _seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None or not self._changes(event, arguments):
            return
        self.operations += 1
        if self.operations >= self.crash_at:
            raise Crash

    def _changes(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            return str(path).startswith(self.folder or "") and bool(flags & (os.O_WRONLY | os.O_RDWR))
        # Inside rmtree paths are relative to an open folder: count them all.
        return event in self._CHANGES

    @contextmanager
    def crashing(self, folder: Path, operation: int) -> Iterator[None]:
        self.folder, self.crash_at, self.operations = str(folder), operation, 0
        try:
            yield
        finally:
            self.folder = None


@pytest.fixture(scope="module")
def disk() -> Disk:
    return Disk()


def assert_readers_see_whole_versions(folder: Path, tmp_path: Path) -> None:
    contents = {model_digest(saved_model(tmp_path, c)): c for c in ("one", "two", "three")}
    if (folder / LATEST).exists():
        digest = latest(folder)["digest"]
        version = folder / latest(folder)["uri"].rpartition("/")[2]
        assert (version / "model.safetensors").read_text() == contents[digest]
    for version in folder.glob("[0-9]*"):
        assert json.loads((version / "report.json").read_text())["report"]["outcome"] == "Succeeded"
        assert (version / "1_Pooling" / "config.json").read_text() == "{}"
        assert (version / "model.safetensors").read_text() in contents.values()
        assert (version / "README.md").read_text() == "# model\n"


def test_no_crash_at_any_operation_shows_a_reader_half_a_model(
    places: Places, tmp_path: Path, folder: Path, disk: Disk
) -> None:
    """Run 3 replaces 2 and prunes 1; killed before its n-th operation, then tried again, for every n."""
    crashes = 0
    for operation in range(1, 500):
        durable.remove(folder)
        published(places, tmp_path, "one", run=1)
        second = published(places, tmp_path, "two", run=2)
        model = saved_model(tmp_path, "three")
        try:
            with disk.crashing(folder, operation):
                target = opened(places, run=3)
                if find_published(target) is None:
                    publish(target, model, extras(target))
            break
        except Crash:
            crashes += 1
        assert_readers_see_whole_versions(folder, tmp_path)
        assert latest(folder)["run"] in {2, 3}
        target = opened(places, run=3)
        if (again := find_published(target)) is None:
            publish(target, model, extras(target))
            again = find_published(target)
        assert again is not None
        assert again.artifact is not None
        assert latest(folder)["uri"] == again.artifact.uri
        left = {p.name for p in folder.iterdir()}
        newest = again.artifact.uri.rpartition("/")[2]
        assert left == {LATEST, newest, second.uri.rpartition("/")[2]}
    assert crashes > 15


def test_no_crash_of_a_first_publication_shows_a_reader_half_a_model(
    places: Places, tmp_path: Path, folder: Path, disk: Disk
) -> None:
    crashes = 0
    for operation in range(1, 500):
        durable.remove(folder)
        model = saved_model(tmp_path, "one")
        try:
            with disk.crashing(folder.parent, operation):
                target = opened(places)
                publish(target, model, extras(target))
            break
        except Crash:
            crashes += 1
        if folder.exists():
            assert_readers_see_whole_versions(folder, tmp_path)
    assert crashes > 10
