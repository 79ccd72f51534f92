import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_trainer.errors import StorageFailed
from finetune_trainer.sources import download_cache
from finetune_trainer.sources.download_cache import cache_key, find_entry, get_entry

KEY = cache_key("s3://bucket/table", "etag")


def filler(content: bytes = b"whole", calls: list[int] | None = None) -> Callable[[Path], str]:
    def fill(folder: Path) -> str:
        if calls is not None:
            calls.append(1)
        (folder / "sub").mkdir()
        (folder / "sub/table.csv").write_bytes(content)
        return "label"

    return fill


def test_what_was_fetched_is_fetched_once(tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(2):
        entry = get_entry(tmp_path, KEY, fill=filler(calls=calls))
        assert (entry / "sub/table.csv").read_bytes() == b"whole"
        assert entry.label == "label"
    assert len(calls) == 1


def test_other_parts_have_another_key() -> None:
    assert len({cache_key("a", "b"), cache_key("ab"), cache_key("b", "a"), cache_key("a", "b", "")}) == 4


@pytest.mark.parametrize("content", [b"whol", b"wholf", b""])
def test_a_damaged_file_is_fetched_anew(tmp_path: Path, content: bytes) -> None:
    entry = get_entry(tmp_path, KEY, fill=filler())
    (entry / "sub/table.csv").write_bytes(content)
    assert find_entry(tmp_path, KEY) is None
    assert (get_entry(tmp_path, KEY, fill=filler()) / "sub/table.csv").read_bytes() == b"whole"


def test_a_file_that_is_gone_or_a_link_is_fetched_anew(tmp_path: Path) -> None:
    path = get_entry(tmp_path, KEY, fill=filler()) / "sub/table.csv"
    path.unlink()
    assert find_entry(tmp_path, KEY) is None
    path = get_entry(tmp_path, KEY, fill=filler()) / "sub/table.csv"
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(b"whole")
    path.symlink_to(tmp_path / "elsewhere")
    assert find_entry(tmp_path, KEY) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": {}}'])
def test_an_entry_without_its_manifest_is_none(tmp_path: Path, text: str) -> None:
    entry = get_entry(tmp_path, KEY, fill=filler())
    (entry.folder.parent / "entry.json").write_text(text)
    assert find_entry(tmp_path, KEY) is None
    assert get_entry(tmp_path, KEY, fill=filler()).label == "label"


def test_what_breaks_off_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    def breaks_off(folder: Path) -> str:
        (folder / "half").write_bytes(b"x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_entry(tmp_path, KEY, fill=breaks_off)
    assert find_entry(tmp_path, KEY) is None
    assert [p.name for p in (tmp_path / "entries").iterdir()] == [f".{KEY}.lock"]


def test_what_a_killed_run_left_is_never_used_and_removed_by_the_next(tmp_path: Path) -> None:
    left_over = tmp_path / "entries" / f".{KEY}.0123"
    (left_over / "content").mkdir(parents=True)
    (left_over / "content/half").write_bytes(b"x")
    get_entry(tmp_path, KEY, fill=filler())
    assert not left_over.exists()


def test_runs_that_want_the_same_at_once_fetch_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    both = threading.Barrier(2, timeout=20)
    waiting = threading.Event()
    monkeypatch.setattr(download_cache, "sleep", lambda _: waiting.set())

    def slow(folder: Path) -> str:
        assert waiting.wait(20)
        return filler(calls=calls)(folder)

    found: list[bytes] = []

    def run() -> None:
        both.wait()
        found.append((get_entry(tmp_path, KEY, fill=slow) / "sub/table.csv").read_bytes())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, len(calls)) == ([b"whole", b"whole"], 1)


def test_without_locks_the_first_to_finish_is_taken_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)

    def slow(folder: Path) -> str:
        get_entry(tmp_path, KEY, fill=filler(b"first"))
        return filler(b"later")(folder)

    assert (get_entry(tmp_path, KEY, fill=slow) / "sub/table.csv").read_bytes() == b"first"
    assert sorted(p.name for p in (tmp_path / "entries").iterdir()) == [f".{KEY}.lock", KEY]


def test_a_full_or_read_only_cache_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(StorageFailed, match="ENOSPC"):
        get_entry(tmp_path, KEY, fill=filler())
    assert find_entry(tmp_path, KEY) is None
