"""Observe, plan, act under faults that a real API server cannot be made to show on demand."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from finetune_operator.decisions.observed import Observed
from finetune_operator.errors import Waiting
from finetune_operator.kube import ApiFailure, Conflict
from finetune_operator.memory import Key, Memory
from finetune_operator.reconcile import CONFLICT_RETRY_SECONDS, Surroundings, reconcile
from finetune_operator.settings import Settings
from tests.api.specs import a_finetune, a_spec
from tests.operator.fake_kube import FakeKube

KEY = Key("team", "one")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    """One finetune, just applied."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.memory = Memory()
        finetune = a_finetune(a_spec())
        finetune["metadata"] |= {"namespace": "team", "uid": "u1", "generation": 1}
        self.kube.add({**finetune, "status": {"observedGeneration": -1}})
        self.around = Surroundings(
            kube=self.kube,  # type: ignore[arg-type]
            settings=Settings(namespace="ops", trainer_image="trainer"),
            memory=self.memory,
            ca_certificate="CA",
            listening_since=NOW,
            now=lambda: NOW,
            may_act=lambda: True,
        )

    def look(self) -> float | None:
        return reconcile(KEY, self.around)

    def writes(self) -> list[tuple[str, str]]:
        return [r for r in self.kube.requests if r[0] not in {"get", "list"} and r[1] != "Event"]

    def reasons(self) -> list[str]:
        return [o["reason"] for (kind, *_), o in self.kube.objects.items() if kind == "Event"]

    def status(self) -> dict[str, Any]:
        found = self.kube.objects["EmbeddingFinetune", "team", "one"]["status"]
        assert isinstance(found, dict)
        return found

    def fail_once(self, verb: str, kind: str, error: Exception) -> None:
        done = False

        def before(v: str, k: str) -> None:
            nonlocal done
            if (v, k) == (verb, kind) and not done:
                done = True
                raise error

        self.kube.before = before


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_new_finetune_gets_its_objects_and_one_status_write(bench: Bench) -> None:
    bench.look()
    assert bench.writes() == [("create", "ConfigMap"), ("create", "Job"), ("update", "EmbeddingFinetune")]
    assert bench.reasons() == ["Started"]


def test_each_status_that_is_written_is_told_with_the_one_before(bench: Bench) -> None:
    told: list[tuple[Observed, dict[str, Any]]] = []
    bench.around = replace(bench.around, written=lambda observed, after: told.append((observed, after)))
    bench.look()
    bench.look()
    ((observed, after),) = told
    assert observed.finetune["status"] == {"observedGeneration": -1}
    assert after == bench.status()


def test_a_job_is_removed_in_time_and_nothing_is_asked_before_and_after(bench: Bench) -> None:
    bench.look()
    bench.status()["run"]["completionTime"] = "2026-01-01T00:00:00Z"
    bench.status()["conditions"] = [
        {
            "type": "Ready", "status": "True", "reason": "Published", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        }
    ]  # fmt: skip
    bench.kube.requests.clear()
    bench.memory.views.doubt(KEY)
    assert bench.look() == 604_800
    assert bench.kube.requests == [("get", "EmbeddingFinetune")]
    bench.around = replace(bench.around, now=lambda: NOW + timedelta(days=7))
    assert bench.look() is None
    assert bench.writes() == [("delete", "Job"), ("delete", "ConfigMap"), ("update", "EmbeddingFinetune")]
    bench.kube.requests.clear()
    assert bench.look() is None
    assert bench.kube.requests == [("get", "EmbeddingFinetune")]


def test_looking_again_writes_nothing(bench: Bench) -> None:
    bench.look()
    bench.kube.requests.clear()
    bench.look()
    assert bench.writes() == []


def test_few_requests_are_made_from_apply_to_job(bench: Bench) -> None:
    bench.look()
    assert len(bench.kube.requests) <= 8


@pytest.mark.parametrize(
    ("verb", "kind"), [("create", "ConfigMap"), ("create", "Job"), ("update", "EmbeddingFinetune")]
)
def test_a_look_that_was_cut_off_anywhere_is_made_good_by_the_next(
    bench: Bench, verb: str, kind: str
) -> None:
    bench.fail_once(verb, kind, ApiFailure("planted"))
    with pytest.raises(ApiFailure):
        bench.look()
    bench.look()
    assert bench.status()["run"]["job"] == "one-1"
    assert [name for k, _, name in bench.kube.objects if k == "Job"] == ["one-1"]


def test_a_write_whose_answer_was_lost_is_found_again(bench: Bench) -> None:
    create = bench.kube.create
    lost: list[Any] = []

    def lose_the_answer(manifest: dict[str, Any]) -> dict[str, Any]:
        answer = create(manifest)
        if manifest["kind"] == "Job" and not lost:
            lost.append(manifest)
            raise ApiFailure("planted")
        return answer

    bench.kube.create = lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(ApiFailure):
        bench.look()
    bench.look()
    assert len([1 for kind, *_ in bench.kube.objects if kind == "Job"]) == 1
    assert bench.status()["run"]["startTime"]


def test_a_status_overtaken_by_another_writer_is_written_anew(bench: Bench) -> None:
    bench.fail_once("update", "EmbeddingFinetune", Conflict("planted"))
    assert bench.look() == CONFLICT_RETRY_SECONDS
    bench.look()
    assert bench.status()["observedGeneration"] == 1


@pytest.mark.parametrize("error", [Conflict("overtaken"), ApiFailure("no answer")])
def test_what_is_told_before_a_status_that_cannot_be_written_is_told_once(
    bench: Bench, error: Exception
) -> None:
    bench.fail_once("update", "EmbeddingFinetune", error)
    with suppress(ApiFailure):
        bench.look()
    bench.look()
    assert bench.reasons() == ["Started"]


def test_a_refusal_while_creating_is_told_in_status(bench: Bench) -> None:
    bench.fail_once("create", "Job", Waiting("QuotaExceeded", "The cluster refused Job one-1", 30))
    assert bench.look() == 30
    ready = next(c for c in bench.status()["conditions"] if c["type"] == "Reconciling")
    assert (ready["status"], ready["reason"]) == ("True", "QuotaExceeded")
    assert "QuotaExceeded" in bench.reasons()


def test_the_same_refusal_again_is_not_told_again(bench: Bench) -> None:
    for _ in range(3):
        bench.fail_once("create", "Job", Waiting("QuotaExceeded", "The cluster refused Job one-1", 30))
        bench.look()
    assert bench.reasons().count("QuotaExceeded") == 1
    assert bench.writes().count(("update", "EmbeddingFinetune")) == 1


def test_an_event_that_cannot_be_posted_holds_nothing_up(bench: Bench) -> None:
    bench.fail_once("create", "Event", ApiFailure("planted"))
    bench.look()
    assert bench.status()["run"]["job"] == "one-1"


def test_a_replica_that_no_longer_leads_writes_nothing(bench: Bench) -> None:
    bench.around = replace(bench.around, may_act=lambda: False)
    bench.look()
    assert bench.writes() == []


def test_a_finetune_that_is_gone_is_forgotten(bench: Bench) -> None:
    bench.look()
    del bench.kube.objects["EmbeddingFinetune", "team", "one"]
    assert bench.look() is None
    assert list(bench.memory.known()) == []


def test_a_settled_finetune_costs_one_request(bench: Bench) -> None:
    settled: dict[str, Any] = {"type": "Ready", "status": "True", "reason": "Published", "message": ""}
    settled |= {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    bench.kube.objects["EmbeddingFinetune", "team", "one"]["status"] = {
        "observedGeneration": 1,
        "conditions": [settled],
    }
    assert bench.look() is None
    assert bench.kube.requests == [("get", "EmbeddingFinetune")]


def test_events_are_read_only_when_a_start_takes_long(bench: Bench) -> None:
    bench.look()
    bench.kube.objects["Job", "team", "one-1"]["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    for seconds, expected in ((4, 0), (6, 1)):
        bench.kube.requests.clear()
        bench.around = replace(bench.around, now=partial(NOW.__add__, timedelta(seconds=seconds)))
        bench.look()
        assert bench.kube.requests.count(("list", "Event")) == expected


OURS: list[dict[str, Any]] = [{"kind": "EmbeddingFinetune", "name": "one", "uid": "u1", "controller": True}]


def test_an_account_is_looked_at_until_the_job_is_made(bench: Bench) -> None:
    finetune = bench.kube.objects["EmbeddingFinetune", "team", "one"]
    finetune["spec"]["runtime"] = {"serviceAccountName": "models-reader"}
    account = {"kind": "ServiceAccount", "metadata": {"namespace": "team", "name": "models-reader"}}
    bench.kube.add(account)
    assert bench.look() == 15.0
    assert bench.writes() == [("update", "EmbeddingFinetune")]
    account["metadata"]["labels"] = {"embeddings.dev/allow-finetunes": "true"}  # type: ignore[index]
    bench.kube.add(account)
    bench.look()
    assert ("create", "Job") in bench.writes()
    bench.kube.requests.clear()
    bench.look()
    assert ("get", "ServiceAccount") not in bench.kube.requests


def test_no_account_is_looked_at_for_a_finetune_that_names_none(bench: Bench) -> None:
    bench.look()
    assert ("get", "ServiceAccount") not in bench.kube.requests
