"""The real process of a pod, stopped by a real signal, and the one that follows it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune_api.exit_codes import ExitCode
from finetune_trainer.places import Places
from tests.trainer.builders import a_spec, fill_for_a_run, places_in
from tests.trainer.checkpoints.pods import Ended, Pod, a_run_file
from tests.trainer.servers.programs import write_secret
from tests.trainer.servers.s3 import S3

pytestmark = [pytest.mark.training, pytest.mark.slow]

FULL: dict[str, Any] = {}
LORA: dict[str, Any] = {"lora": {"rank": 2, "alpha": 4, "dropout": "0.1"}}


def spec_of(model: dict[str, Any], runtime: dict[str, Any], *, steps: int = 60) -> dict[str, Any]:
    spec = a_spec(model=model, training={"args": {"max_steps": steps}}).to_dict()
    return {**spec, "output": {"uri": "pvc://models/out"}, "runtime": runtime}


@pytest.fixture(scope="module")
def digest_of(tmp_path_factory: pytest.TempPathFactory, text_model: Path) -> Callable[[str], str]:
    """Digest of the model of a run that nobody stopped, full or with LoRA."""
    known: dict[str, str] = {}

    def digest(kind: str) -> str:
        if kind not in known:
            folder = tmp_path_factory.mktemp(kind)
            places = places_in(folder)
            fill_for_a_run(places, text_model)
            ended = Pod(a_run_file(spec_of(FULL if kind == "full" else LORA, {})), places, folder).run()
            known[kind] = published(ended)
        return known[kind]

    return digest


def published(ended: Ended) -> str:
    assert ended.code == ExitCode.DONE, ended.lines
    assert ended.report.artifact is not None
    return ended.report.artifact.digest


def stopped_and_gone_on_with(pod: Pod) -> Ended:
    stopped = pod.run(stop_at="step 1 of 60")
    assert stopped.code == ExitCode.INTERRUPTED, stopped.lines
    step = stopped.report.checkpoint_step
    assert step is not None
    assert 1 <= step < 60
    assert stopped.report.failure is not None
    assert (stopped.report.failure.reason, stopped.report.failure.retryable) == ("Interrupted", True)
    ended = pod.run()
    assert any(f"going on after step {step} of 60" in line for line in ended.lines)
    return ended


@pytest.mark.parametrize("kind", ["full", "LoRA"])
def test_a_run_that_is_evicted_ends_as_if_it_had_not_been(
    places: Places, text_model: Path, tmp_path: Path, digest_of: Callable[[str], str], kind: str
) -> None:
    fill_for_a_run(places, text_model)
    runtime = {"checkpoints": {"claim": "scratch"}}
    spec = spec_of(FULL if kind == "full" else LORA, runtime)
    pod = Pod(a_run_file(spec), places, tmp_path / "pod", tmp_path / "scratch")
    assert published(stopped_and_gone_on_with(pod)) == digest_of(kind)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_checkpoints_in_a_bucket_do_the_same(
    places: Places, text_model: Path, tmp_path: Path, digest_of: Callable[[str], str], s3: S3
) -> None:
    fill_for_a_run(places, text_model)
    write_secret(places.secrets / "s3-keys", s3.keys())
    uri = f"s3://{s3.make()}/checkpoints"
    runtime = {"checkpoints": {"uri": uri, "secretRef": {"name": "s3-keys"}}}
    pod = Pod(a_run_file(spec_of(FULL, runtime)), places, tmp_path / "pod")
    assert published(stopped_and_gone_on_with(pod)) == digest_of("full")


def test_a_node_that_goes_away_loses_what_came_after_the_last_checkpoint(
    places: Places, text_model: Path, tmp_path: Path, digest_of: Callable[[str], str]
) -> None:
    """The newest checkpoint of a run that was killed has lost its end, so the one before is used."""
    fill_for_a_run(places, text_model)
    pod = Pod(
        a_run_file(spec_of(FULL, {"checkpoints": {"claim": "scratch"}})),
        places,
        tmp_path / "pod",
        tmp_path / "scratch",
    )
    pod.run(stop_at="step 1 of 60")
    pod.run(stop_at="going on after step")
    folder = tmp_path / "scratch/team/search/u-1/1"
    older, newer = sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    weights = newer / "weights-0.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    ended = pod.run()
    assert published(ended) == digest_of("full")
    number = re.findall(r"\d+", older.name)[0]
    assert any(f"going on after step {number} of 60" in line for line in ended.lines)
    assert any("is passed over: weights-0.safetensors must have" in line for line in ended.lines)
    shutil.rmtree(folder, ignore_errors=True)


def test_without_a_place_for_checkpoints_a_run_begins_anew(
    places: Places, text_model: Path, tmp_path: Path
) -> None:
    fill_for_a_run(places, text_model)
    pod = Pod(a_run_file(spec_of(FULL, {}, steps=20)), places, tmp_path / "pod")
    stopped = pod.run(stop_at="step 1 of 20")
    assert (stopped.code, stopped.report.checkpoint_step) == (ExitCode.INTERRUPTED, None)


def test_what_a_user_has_to_mend_leaves_no_checkpoint(
    places: Places, text_model: Path, tmp_path: Path
) -> None:
    fill_for_a_run(places, text_model)
    spec = spec_of(FULL, {"checkpoints": {"claim": "scratch"}})
    pod = Pod(a_run_file(spec), places, tmp_path / "pod", tmp_path / "scratch")
    pod.run(stop_at="step 1 of 60")
    (places.volume("data") / "train.jsonl").write_text("no json")
    assert pod.run().code == ExitCode.BAD_DATA
    assert list((tmp_path / "scratch").iterdir()) == []
