"""The pure parts of the node: quantities, phases, the sandbox, files that change at once."""

from pathlib import Path, PurePosixPath

import pytest

from tests.cluster.client import Dict
from tests.cluster.node.files import File, write_files
from tests.cluster.node.launch import program_mounts
from tests.cluster.node.quantities import in_units_of
from tests.cluster.node.sandbox import Mount, build_arguments
from tests.cluster.node.status import ContainerView, phase_of

WAITING: Dict = {"waiting": {"reason": "ContainerCreating"}}
RUNNING: Dict = {"running": {}}


def ended(code: int, *, restarts_again: bool = False) -> ContainerView:
    return ContainerView("c", "any", {"terminated": {"exitCode": code}}, restarts_again=restarts_again)


def view(state: Dict) -> ContainerView:
    return ContainerView("c", "any", state)


@pytest.mark.parametrize(
    ("quantity", "divisor", "expected"),
    [("1500m", "1", 2), ("1500m", "1m", 1500), ("2Gi", "1Mi", 2048), ("1e3", "1k", 1), ("1G", "0", 10**9)],
)
def test_quantities_are_rounded_up_in_units(quantity: str, divisor: str, expected: int) -> None:
    assert in_units_of(quantity, divisor) == expected


@pytest.mark.parametrize(
    ("inits", "containers", "expected"),
    [
        pytest.param([], [view(WAITING)], "Pending", id="nothing has started"),
        pytest.param([ended(0)], [view(WAITING)], "Pending", id="initialised, not started"),
        pytest.param([view(RUNNING)], [view(WAITING)], "Pending", id="initialising"),
        pytest.param([ended(1)], [view(WAITING)], "Failed", id="initialising failed for good"),
        pytest.param([ended(1, restarts_again=True)], [view(WAITING)], "Pending", id="initialising again"),
        pytest.param([], [view(RUNNING), ended(1)], "Running", id="one of two runs"),
        pytest.param([], [ended(0), ended(0)], "Succeeded", id="both succeeded"),
        pytest.param([], [ended(0), ended(3)], "Failed", id="one failed"),
    ],
)
def test_the_phase_follows_from_the_containers(
    inits: list[ContainerView], containers: list[ContainerView], expected: str
) -> None:
    assert phase_of(inits, containers) == expected


def test_only_folders_above_a_mount_point_are_made_anew() -> None:
    mounts = [Mount(Path("/source"), PurePosixPath("/etc/made-up/inner"), read_only=True)]
    words = build_arguments(mounts, hostname="pod", working_dir="/")
    made = [words[index + 1] for index, word in enumerate(words) if word == "--dir"]
    assert made == ["/etc", "/etc/made-up"]
    text = " ".join(words)
    assert "--ro-bind /source /etc/made-up/inner" in text
    assert "--ro-bind-try /usr /usr" in text
    assert "--ro-bind-try /etc/passwd /etc/passwd" in text
    assert "--ro-bind-try /etc /etc" not in text


def test_files_change_all_at_once_and_only_when_they_differ(tmp_path: Path) -> None:
    first = {"a": File(b"1", 0o644), "deep/b": File(b"2", 0o400)}
    assert write_files(tmp_path, first)
    assert not write_files(tmp_path, first)
    before = (tmp_path / "..data").readlink()
    assert write_files(tmp_path, {"a": File(b"3", 0o644)})
    assert (tmp_path / "a").read_bytes() == b"3"
    assert not (tmp_path / "deep").exists()
    assert (tmp_path / "..data").readlink() != before
    assert len([path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()]) == 1


def test_programs_stay_visible_where_a_mount_would_hide_them() -> None:
    scratch = Mount(Path("/var/scratch"), PurePosixPath("/tmp"))
    mounts = program_mounts("/tmp/checkout/bin:/opt/bin", [scratch])
    assert Mount(Path("/tmp/checkout/bin"), PurePosixPath("/tmp/checkout/bin"), read_only=True) in mounts
    assert PurePosixPath("/opt/bin") not in {mount.target for mount in mounts}
