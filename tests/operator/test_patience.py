"""An operator that begins while the API server is busy or away waits for it."""

import threading

import pytest

from finetune_operator import patience
from finetune_operator.kube import ApiFailure, Conflict
from finetune_operator.patience import AskedToStop, patiently


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0)


def test_a_refusal_that_passes_is_asked_again() -> None:
    answers = [ApiFailure("429"), Conflict("409"), "the answer"]

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    assert patiently(ask, threading.Event()) == "the answer"


def test_who_is_asked_to_stop_waits_no_longer() -> None:
    stop = threading.Event()

    def ask() -> None:
        stop.set()
        raise ApiFailure("refused")

    with pytest.raises(AskedToStop):
        patiently(ask, stop)


def test_what_waiting_does_not_mend_is_told_at_once() -> None:
    def ask() -> None:
        raise LookupError("no such Secret")

    with pytest.raises(LookupError, match="no such Secret"):
        patiently(ask, threading.Event())
