import os
import signal

import pytest

from finetune_api.exit_codes import ExitCode
from finetune_trainer.interruption import Interrupted, StopRequest, stopping_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_a_stop_at_the_next_boundary(number: signal.Signals) -> None:
    with stopping_on_signals() as stop:
        stop.check()
        os.kill(os.getpid(), number)
        assert stop.is_set()
        with pytest.raises(Interrupted, match=number.name) as caught:
            stop.check()
    assert caught.value.exit_code is ExitCode.INTERRUPTED
    assert caught.value.as_failure().retryable


def test_a_second_control_c_ends_at_once() -> None:
    with stopping_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_from_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stopping_on_signals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_nothing_is_asked_for_at_first() -> None:
    StopRequest().check()
