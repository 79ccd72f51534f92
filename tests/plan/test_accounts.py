"""Service accounts: only one that says so itself is ever used, and never its token."""

from typing import Any

import pytest

from tests.plan import world

SPEC = world.changed(world.SPEC, "runtime", {"serviceAccountName": "models-reader"})


def _account(**labels: str) -> world.Object:
    return {"metadata": {"name": "models-reader", "namespace": "team-a", "labels": labels}}


ALLOWED = _account(**{"embeddings.dev/allow-finetunes": "true"})
FORBIDDEN: dict[str, world.Object | None] = {
    "ServiceAccountMissing": None,
    "ServiceAccountNotAllowed": _account(),
}


def _decide(account: world.Object | None, finetune: world.Object | None = None, **parts: Any) -> Any:
    finetune = finetune or world.a_finetune(SPEC)
    return world.decide(world.a_look(finetune, service_account=account, **parts))


def _told(decision: Any, condition: str = "Reconciling") -> tuple[str, str, str]:
    said = world.said(decision.status, condition)
    assert said is not None
    return said


def test_an_account_that_allows_it_is_the_pods_without_its_token() -> None:
    _, job = _decide(ALLOWED).create
    pod = job["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("models-reader", False)


@pytest.mark.parametrize("reason", FORBIDDEN)
def test_an_account_that_may_come_or_be_labelled_is_waited_for(reason: str) -> None:
    decision = _decide(FORBIDDEN[reason])
    assert (decision.create, decision.requeue_after_seconds) == ((), 15.0)
    status, found, message = _told(decision)
    assert (status, found) == ("True", reason)
    assert "ServiceAccount models-reader (spec.runtime.serviceAccountName)" in message


def test_who_must_label_it_is_told_how() -> None:
    _, _, message = _told(_decide(_account()))
    command = "kubectl -n team-a label serviceaccount models-reader embeddings.dev/allow-finetunes=true"
    assert command in message
    assert "Platform team: or run" in message


@pytest.mark.parametrize("value", ["", "false", "True", "yes"])
def test_no_other_value_of_the_label_will_do(value: str) -> None:
    assert _decide(_account(**{"embeddings.dev/allow-finetunes": value})).create == ()


@pytest.mark.parametrize("reason", FORBIDDEN)
def test_waiting_ends_with_the_pending_seconds(reason: str) -> None:
    waiting = world.a_finetune(SPEC, status=_decide(FORBIDDEN[reason], now=world.at(0)).status)
    decision = _decide(FORBIDDEN[reason], waiting, now=world.at(3601))
    assert _told(decision, "Stalled")[:2] == ("True", reason)


def test_an_account_that_is_labelled_meanwhile_begins_the_run() -> None:
    waiting = world.a_finetune(SPEC, status=_decide(_account()).status)
    assert world.all_objects(_decide(ALLOWED, waiting).create) == ["ConfigMap/vdr-1", "Job/vdr-1"]


def test_a_job_that_is_there_keeps_its_account() -> None:
    """The label is asked for when a Job is made; taken away, it counts from the next Job on."""
    job = world.a_job(spec=SPEC)
    decision = _decide(None, job=job, config=world.a_config())
    assert (decision.delete, decision.status["phase"]) == ((), "Starting")
