"""How often somebody may do something, on a clock that is moved by hand."""

import itertools

import pytest

from finetune_operator import limits
from finetune_operator.limits import RateLimit


class Bench:
    def __init__(self) -> None:
        self.now = 1000.0
        self.limit = RateLimit(per_second=2, burst=3, monotonic=lambda: self.now)

    def take(self, times: int, key: str = "a") -> int:
        """How many of so many tries are allowed."""
        return sum(self.limit.take(key) for _ in range(times))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_burst_is_allowed_and_then_the_rate(bench: Bench) -> None:
    assert bench.take(10) == 3
    bench.now += 1
    assert bench.take(10) == 2
    bench.now += 3600
    assert bench.take(10) == 3


def test_trying_in_vain_does_not_prolong_the_wait(bench: Bench) -> None:
    bench.take(1000)
    bench.now += 0.5
    assert bench.take(1) == 1


def test_each_key_has_its_own_allowance(bench: Bench) -> None:
    bench.take(10)
    assert bench.take(10, "b") == 3


def test_what_is_given_back_may_be_taken_again(bench: Bench) -> None:
    for _ in range(20):
        assert bench.take(1) == 1
        bench.limit.give_back("a")
    assert bench.take(10) == 3


def test_very_many_keys_take_no_more_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 4)
    bench.take(3)
    for key in itertools.islice(map(str, itertools.count()), 4):
        bench.take(1, key)
    bench.limit.give_back("a")
    assert bench.take(10) == 3
