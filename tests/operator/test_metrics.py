"""What /metrics says of finetunes and their runs, and that it forgets what is deleted."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from finetune_api.status import Progress
from finetune_operator.decisions.observed import LiveProgress
from finetune_operator.memory import Key, Known
from finetune_operator.metrics import exposition, finetunes
from finetune_operator.metrics.finetunes import Sample
from tests.operator.scraped import KEY, LIVE, OF, ON_PRIMARY, RUN, THEN, Scrape, a_finetune


def test_a_finetune_is_shown_with_its_numbers() -> None:
    scrape = Scrape(a_finetune())
    assert scrape.labels("info") == [
        {
            "uid": "u1", "base_model": "hf://owner/model@0", "model_type": "Sparse", "loss": "SomeLoss",
            "gpu_resource": "amd.com/gpu",
        }
    ]  # fmt: skip
    assert scrape.value("status_phase", **OF, phase="Training", reason="Running") == 1
    assert scrape.value("status_condition", **OF, condition="Ready", status="Unknown") == 1
    assert scrape.value("progress_ratio", **OF) == 0.4
    assert scrape.value("training_loss", **OF) == 0.5
    assert scrape.value("created_timestamp_seconds", **OF) == 1767225540
    assert scrape.value("start_timestamp_seconds", **OF) == 1767225600
    assert scrape.value("completion_timestamp_seconds", **OF) is None
    assert scrape.value("evaluation_score", **ON_PRIMARY, model="base") == 0.63
    assert scrape.value("evaluation_score", **ON_PRIMARY, model="tuned") == 0.72
    assert scrape.value("evaluation_gain", **ON_PRIMARY) == 0.09
    assert scrape.value("evaluation_gain_low", **ON_PRIMARY) == 0.05
    assert scrape.value("evaluation_gain_high", **ON_PRIMARY) == 0.13


def test_a_phase_and_a_condition_have_the_one_series_that_says_which() -> None:
    scrape = Scrape(a_finetune())
    assert scrape.labels("status_phase") == [{"phase": "Training", "reason": "Running"}]
    assert scrape.labels("status_condition") == [
        {"condition": "Ready", "status": "Unknown"},
        {"condition": "GatePassed", "status": "Unknown"},
    ]


def test_a_run_is_shown_with_what_it_took() -> None:
    run = {
        **RUN, "number": 3, "attempt": 4, "retries": 1, "interruptions": 2, "activeSeconds": 900,
        "wastedSeconds": 60, "lostSteps": 12, "checkpointTime": "2026-01-01T00:10:00Z",
    }  # fmt: skip
    scrape = Scrape(a_finetune(run=run))
    found = {
        "run_number": 3, "run_attempt": 4, "retries_total": 1, "interruptions_total": 2,
        "active_seconds_total": 900, "gpu_seconds_total": 900, "wasted_gpu_seconds_total": 60,
        "lost_steps_total": 12, "last_checkpoint_timestamp_seconds": 1767226200,
    }  # fmt: skip
    assert {name: scrape.value(name, **OF) for name in found} == found


def test_what_a_run_counts_is_there_before_it_counts_anything() -> None:
    scrape = Scrape(a_finetune())
    for name in ("retries_total", "interruptions_total", "gpu_seconds_total", "lost_steps_total"):
        assert scrape.value(name, **OF) == 0


def test_a_run_without_gpu_takes_no_gpu_seconds() -> None:
    finetune = a_finetune(run={**RUN, "activeSeconds": 900})
    finetune["spec"]["runtime"]["gpusPerNode"] = 0
    scrape = Scrape(finetune)
    assert scrape.value("active_seconds_total", **OF) == 900
    assert scrape.value("gpu_seconds_total", **OF) == 0


def test_a_published_models_age_is_that_of_the_run_that_made_it() -> None:
    artifact: dict[str, Any] = {
        "uri": "s3://m/1",
        "digest": "sha256:0",
        "run": 1,
        "report": "s3://m/1/report.json",
    }
    ended = {**RUN, "completionTime": "2026-01-01T02:00:00Z"}
    assert (
        Scrape(a_finetune(artifact=artifact, run=ended)).value("published_timestamp_seconds", **OF)
        == 1767232800
    )
    past = {"number": 1, "specHash": "", "outcome": "Published", "reason": "Published"}
    later: dict[str, Any] = {"run": {**RUN, "number": 2}, "artifact": artifact}
    known = a_finetune(**later, history=[{**past, "completionTime": "2026-01-01T02:00:00Z"}])
    assert Scrape(known).value("published_timestamp_seconds", **OF) == 1767232800
    assert Scrape(a_finetune(**later)).value("published_timestamp_seconds", **OF) is None


def test_live_progress_is_ahead_of_status() -> None:
    scrape = Scrape(a_finetune())
    progress = Progress(percent=55, loss="nan", samples_per_second="31.2", remaining_seconds=600)
    live = replace(LIVE, progress=progress, checkpoint_at=THEN + timedelta(minutes=1))
    assert scrape.value("progress_ratio", **OF) == 0.4
    assert scrape.memory.report(KEY, "u1", 1, live)
    assert scrape.value("progress_ratio", **OF) == 0.55
    assert scrape.value("samples_per_second", **OF) == 31.2
    assert scrape.value("training_remaining_seconds", **OF) == 600
    assert scrape.value("last_progress_timestamp_seconds", **OF) == THEN.timestamp()
    assert scrape.value("last_checkpoint_timestamp_seconds", **OF) == THEN.timestamp() + 60
    assert str(scrape.value("training_loss", **OF)) == "nan"


def test_a_run_that_is_over_shows_what_status_says() -> None:
    scrape = Scrape(a_finetune())
    scrape.memory.report(KEY, "u1", 1, LIVE)
    scrape.memory.observe(a_finetune(run={**RUN, "completionTime": "2026-01-01T00:00:09Z"}))
    assert scrape.value("progress_ratio", **OF) == 0.4
    assert scrape.value("last_progress_timestamp_seconds", **OF) is None
    assert scrape.value("completion_timestamp_seconds", **OF) == 1767225609


def test_a_deleted_finetunes_series_vanish_with_the_next_scrape() -> None:
    scrape = Scrape(a_finetune(), a_finetune(uid="u2", name="two"))
    assert scrape.of()
    scrape.memory.forget(KEY)
    assert not scrape.of()
    assert scrape.of("two")
    scrape.memory.forget(Key("team", "two"))
    assert all("embeddingfinetune" not in labels for _, labels, _ in scrape.samples())


def test_a_finetune_of_the_same_name_shows_nothing_of_the_one_before() -> None:
    scrape = Scrape(a_finetune())
    scrape.memory.report(KEY, "u1", 1, LIVE)
    assert scrape.value("progress_ratio", **OF) == 0.55
    scrape.memory.observe(a_finetune(uid="u2", progress=None, evaluation=None))
    assert [labels["uid"] for labels in scrape.labels("info")] == ["u2"]
    assert scrape.value("progress_ratio", **OF) is None
    assert scrape.labels("evaluation_score") == []


def test_the_text_of_a_finetune_is_made_again_only_when_it_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def samples(known: Known, live: LiveProgress | None) -> Iterator[Sample]:
        made.append(known.uid)
        return finetunes.samples(known, live)

    monkeypatch.setattr(exposition, "samples", samples)
    scrape = Scrape(a_finetune(), a_finetune("u2", "two"))
    scrape.of()
    assert made == ["u1", "u2"]
    scrape.of()
    scrape.memory.report(KEY, "u1", 1, LIVE)
    scrape.of()
    scrape.memory.observe(a_finetune("u2", "two", phase="Failed"))
    scrape.of()
    assert made == ["u1", "u2", "u1", "u2"]


def test_a_scrape_makes_nothing_that_would_bring_on_garbage_collection() -> None:
    """Of 10,000 finetunes a full one takes 90 ms of everybody's time."""
    scrape = Scrape(*(a_finetune(f"u{number}", f"finetune-{number}") for number in range(300)))
    scrape.of()
    gc.collect()
    before = len(gc.get_objects())
    pieces = iter(scrape.metrics.render())
    made = [len(gc.get_objects()) - before for _ in pieces]
    assert len(made) > 10
    assert max(made) < 300


def test_labels_are_written_so_that_no_text_can_break_out() -> None:
    finetune = a_finetune()
    finetune["spec"]["model"]["uri"] = 'pvc://c/a"b\\c\nd'
    (labels,) = Scrape(finetune).labels("info")
    assert labels["base_model"] == 'pvc://c/a"b\\c\nd'


def test_without_series_of_each_finetune_the_sums_remain() -> None:
    scrape = Scrape(a_finetune(), a_finetune("u2", "two", phase="Failed"), per_resource=False)
    assert not scrape.of()
    assert scrape.value("resources", namespace="team", phase="Training") == 1
    assert scrape.value("resources", namespace="team", phase="Failed") == 1
    assert scrape.value("operator_queue_depth") == 7


def test_a_finetune_that_nobody_has_looked_at_is_pending() -> None:
    scrape = Scrape({**a_finetune(), "status": {"observedGeneration": -1}})
    assert scrape.value("resources", namespace="team", phase="Pending") == 1
    assert scrape.labels("status_phase") == []


def test_a_status_that_somebody_broke_does_not_break_the_scrape() -> None:
    broken: dict[str, Any] = {
        "progress": {"percent": 1, "loss": "much"},
        "run": {**RUN, "startTime": "yesterday"},
    }
    scrape = Scrape(a_finetune(**broken, evaluation={"primary": "great"}))
    assert scrape.value("progress_ratio", **OF) == 0.01
    assert scrape.value("training_loss", **OF) is None
    assert scrape.value("start_timestamp_seconds", **OF) is None
    assert scrape.labels("evaluation_score") == []
