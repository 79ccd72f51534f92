"""The lock files: every needed package is in them, by hash, in the version that the tests run with."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = {
    "operator": ROOT / "operator/requirements.lock",
    "trainer": ROOT / "trainer_image/requirements.lock",
    "dev": ROOT / "requirements.lock",
}


def locked(path: Path) -> dict[str, str]:
    """Name to version, for this interpreter."""
    found: dict[str, str] = {}
    for entry in _entries(path):
        requirement = Requirement(entry.split(" --hash")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate():
            (version,) = (s.version for s in requirement.specifier)
            found[canonicalize_name(requirement.name)] = version
    return found


def _entries(path: Path) -> list[str]:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    return text.replace("\\\n", " ").splitlines()


def needed(extra: str) -> set[str]:
    """Names of everything that the extra pulls in here, by what installed packages say of themselves."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(r) for r in project["dependencies"] + project["optional-dependencies"][extra]]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for part in {"", *requirement.extras}:
            if (name, part) not in seen:
                seen.add((name, part))
                waiting.extend(_requirements(name, part))
    return {name for name, _ in seen}


def _requirements(name: str, extra: str) -> Iterator[Requirement]:
    try:
        texts = distribution(name).requires or []
    except PackageNotFoundError:
        pytest.fail(f"{name} is needed and not installed")
    for requirement in map(Requirement, texts):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


@pytest.mark.parametrize("extra", ["operator", "trainer"])
def test_an_images_lock_has_everything_it_needs(extra: str) -> None:
    assert needed(extra) - set(locked(LOCKS[extra])) == set()


@pytest.mark.parametrize("extra", ["operator", "trainer"])
def test_an_images_lock_has_the_versions_that_are_tested(extra: str) -> None:
    everything = locked(LOCKS["dev"])
    assert {n: v for n, v in locked(LOCKS[extra]).items() if everything.get(n) != v} == {}


@pytest.mark.parametrize("path", [*LOCKS.values(), ROOT / "build.lock"], ids=lambda p: p.parent.name)
def test_every_entry_is_pinned_by_hash(path: Path) -> None:
    assert [e for e in _entries(path) if "==" not in e or "--hash=sha256:" not in e] == []


@pytest.mark.parametrize("path", [*LOCKS.values(), ROOT / "build.lock"], ids=lambda p: p.parent.name)
def test_no_lock_names_where_packages_come_from(path: Path) -> None:
    assert "://" not in path.read_text()
    assert "--index" not in path.read_text()


def test_the_operators_image_has_no_torch() -> None:
    heavy = {"torch", "transformers", "sentence-transformers", "datasets", "numpy", "scipy"}
    assert heavy & set(locked(LOCKS["operator"])) == set()


def test_the_trainers_image_has_no_kubernetes_client() -> None:
    assert {"kubernetes", "kopf"} & set(locked(LOCKS["trainer"])) == set()


def test_the_build_tools_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [Requirement(r) for r in project["build-system"]["requires"]]
    assert all(r.specifier.contains(locked(ROOT / "build.lock")[canonicalize_name(r.name)]) for r in wanted)


@pytest.mark.slow
def test_the_operator_runs_with_its_lock_alone(tmp_path: Path) -> None:
    """What its image does, without an engine: install by hash, then start the command."""
    uv = str(Path(sys.executable).parent / "uv")
    python = str(tmp_path / "operator/bin/python")

    def run(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "operator"))
    install = (uv, "pip", "install", "--quiet", "--no-deps", "--python", python)
    run(*install, "--require-hashes", "--requirement", str(LOCKS["operator"]))
    run(*install, str(ROOT))
    assert "FINETUNE_TRAINER_IMAGE" in run(str(tmp_path / "operator/bin/finetune-operator"), "--help")
