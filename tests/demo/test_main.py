import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo import __main__ as command
from demo.errors import DemoError
from demo.results import Result
from demo.tasks import TASKS
from tests.cluster import ClusterError
from tests.demo.builders import a_finetune, a_ready_one
from tests.demo.test_results import MODEL

Run = Callable[..., list[Result]]
READY = Result(TASKS[0], a_ready_one(), MODEL)
NOT_READY = Result(TASKS[0], a_finetune(phase="Failed"))


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Exit code of the command when the demo itself answers, or raises, that."""

    def end(outcome: list[Result] | BaseException, *arguments: str) -> int:
        def run(*_: Any, **__: Any) -> list[Result]:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(command, "run_demo", run)
        return command.main(arguments)

    return end


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        pytest.param([READY, READY], 0, id="both as expected"),
        pytest.param([READY, NOT_READY], 1, id="one not Ready"),
        pytest.param(DemoError("apt-get was not found"), 1, id="something is missing"),
        pytest.param(ClusterError("no cluster"), 1, id="the cluster fails"),
        pytest.param(KeyboardInterrupt(), 130, id="interrupted"),
    ],
)
def test_the_exit_code_tells_how_it_went(
    ended: Callable[..., int], outcome: list[Result] | BaseException, code: int
) -> None:
    assert ended(outcome) == code


def test_an_error_is_told_and_how_to_stop_a_cluster_that_was_kept(
    ended: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    ended(DemoError("apt-get was not found"), "--keep")
    told = capsys.readouterr().out
    assert "apt-get was not found" in told
    assert "-m tests.cluster down --name demo" in told


def test_only_names_of_the_two_finetunes_are_taken(ended: Callable[..., int]) -> None:
    with pytest.raises(SystemExit) as wrong:
        ended([], "--only", "everything")
    assert wrong.value.code == 2
