"""The images' recipes: stages, user, and that what they copy and install is there."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from finetune_api.run_file import WORK_DIR
from tests.images.dockerfile import Stage, parse_dockerfile

ROOT = Path(__file__).parents[2]
IMAGES = {"operator": "finetune-operator", "trainer_image": "finetune-trainer"}
Stages = list[Stage]


@pytest.fixture(params=IMAGES)
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stages(folder: str) -> Stages:
    return parse_dockerfile(ROOT / folder / "Dockerfile")


@pytest.fixture
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_an_image_is_built_in_stages_and_explained(folder: str, stages: Stages) -> None:
    assert [stage.name for stage in stages] == ["wheel", "environment", ""]
    comments = (ROOT / folder / "Dockerfile").read_text().split("\n\n")[0]
    assert all(stage.name in comments for stage in stages)


def test_an_image_runs_as_a_user_that_pod_security_knows_not_to_be_root(stages: Stages) -> None:
    (user,) = stages[-1].values("USER")
    assert all(part.isdigit() and int(part) > 0 for part in user.split(":"))


def test_nothing_is_done_as_root_after_the_user_is_set(stages: Stages) -> None:
    names = [i.name for i in stages[-1].instructions]
    assert set(names[names.index("USER") + 1 :]) <= {"EXPOSE", "ENTRYPOINT"}


def test_the_last_stage_installs_and_compiles_nothing(stages: Stages) -> None:
    assert not any("pip" in run or "apt" in run for run in stages[-1].values("RUN"))
    assert all(stage for stage, _ in stages[-1].copied())


def test_what_is_copied_is_in_the_repository_and_not_ignored(stages: Stages) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for stage in stages:
        for source, paths in stage.copied():
            if source:
                assert source in {s.name for s in stages}
            else:
                assert [p for p in paths if not (ROOT / p).exists()] == []
                assert set(paths) <= allowed


def test_the_wheel_stage_copies_every_package_of_the_distribution(
    stages: Stages, project: dict[str, Any]
) -> None:
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {path for _, paths in stages[0].copied() for path in paths}
    assert set(packages) <= copied


def test_everything_from_an_index_is_installed_by_hash(stages: Stages) -> None:
    installs = [
        run for stage in stages for run in stage.values("RUN") if " install " in run or "pip install" in run
    ]
    assert installs
    for run in installs:
        assert "--require-hashes" in run or "/wheels/*.whl" in run


def test_the_entry_point_is_a_command_of_the_distribution(
    folder: str, stages: Stages, project: dict[str, Any]
) -> None:
    assert IMAGES[folder] in project["project"]["scripts"]
    assert stages[-1].values("ENTRYPOINT") == [f'["{IMAGES[folder]}"]']


def test_bytecode_is_compiled_and_survives_copying(stages: Stages) -> None:
    """Copying changes the times of files: bytecode checked by time would be compiled anew in each pod."""
    runs = " ".join(stages[1].values("RUN"))
    assert runs.count("pip --python") == runs.count("--no-compile")
    assert "compileall -q -j 0 --invalidation-mode unchecked-hash" in runs


def test_the_chart_and_the_recipes_mean_the_same_images(folder: str, project: dict[str, Any]) -> None:
    chart = (ROOT / "charts/embedding-finetune-operator/Chart.yaml").read_text()
    values = (ROOT / "charts/embedding-finetune-operator/values.yaml").read_text()
    name = {"operator": "embedding-finetune-operator", "trainer_image": "embedding-finetune-trainer"}[folder]
    version = project["project"]["version"]
    assert f"--tag {name}:{version} ." in (ROOT / folder / "Dockerfile").read_text()
    assert f"repository: {name}\n" in values
    assert f"appVersion: {version}\n" in chart


def test_the_trainers_home_is_where_a_job_mounts_its_scratch_space() -> None:
    last = parse_dockerfile(ROOT / "trainer_image/Dockerfile")[-1]
    assert last.values("WORKDIR") == [WORK_DIR]
    assert f"HOME={WORK_DIR}" in last.values("ENV")[0].split()
