"""The queue, on a clock that stands still until it is moved."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from finetune_operator.workqueue import MAX_DELAY_SECONDS, RUNS_BEFORE_A_PLANNED_ONE, WorkQueue
from tests.operator.fake_loop import FakeLoop, fake_loop

WORKERS = 2


class Bench:
    """A queue whose runs end when the test says so, and how."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.runs: list[tuple[float, str]] = []
        self.open: dict[str, asyncio.Future[float | None]] = {}
        self.waited: list[float] = []
        self.queue: WorkQueue[str]
        loop.run_until_complete(self._start())

    async def _start(self) -> None:
        self.queue = WorkQueue(self._run, workers=WORKERS, waited=self.waited.append, draw=lambda: 0.0)

    async def _run(self, key: str) -> float | None:
        assert key not in self.open, f"{key} runs twice at a time"
        assert len(self.open) < WORKERS
        self.runs.append((self.loop.time(), key))
        self.open[key] = self.loop.create_future()
        try:
            return await self.open[key]
        finally:
            del self.open[key]

    def add(self, key: str) -> None:
        self.loop.call_soon(self.queue.add, key)
        self.loop.settle()

    def add_after(self, key: str, seconds: float) -> None:
        self.loop.call_soon(self.queue.add_after, key, seconds)
        self.loop.settle()

    def end(self, key: str, delay: float | None = None) -> None:
        self.open[key].set_result(delay)
        self.loop.settle()

    def fail(self, key: str) -> None:
        self.open[key].set_exception(OSError("planted"))
        self.loop.settle()

    @property
    def keys_run(self) -> list[str]:
        return [key for _, key in self.runs]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with fake_loop() as loop:
        yield Bench(loop)


def test_a_key_added_often_before_it_runs_runs_once(bench: Bench) -> None:
    for key in ("a", "b", "c", "c", "c"):
        bench.add(key)
    assert bench.keys_run == ["a", "b"]
    assert bench.queue.depth == 1
    bench.end("a")
    bench.end("c")
    assert bench.keys_run == ["a", "b", "c"]


def test_it_tells_how_long_each_key_waited_for_a_worker(bench: Bench) -> None:
    for key in ("a", "b", "c"):
        bench.add(key)
    bench.loop.advance(3)
    bench.end("a")
    assert bench.waited == [0, 0, 3]


def test_a_key_added_while_it_runs_runs_once_more(bench: Bench) -> None:
    bench.add("a")
    bench.add("a")
    bench.add("a")
    assert bench.keys_run == ["a"]
    bench.end("a")
    assert bench.keys_run == ["a", "a"]
    bench.end("a")
    assert bench.keys_run == ["a", "a"]


def test_the_earliest_of_several_delays_holds(bench: Bench) -> None:
    bench.add_after("a", 30)
    bench.add_after("a", 10)
    bench.add_after("a", 20)
    bench.loop.advance(9.9)
    assert bench.keys_run == []
    bench.loop.advance(0.2)
    bench.end("a")
    bench.loop.advance(100)
    assert bench.keys_run == ["a"]


def test_a_run_takes_back_what_was_planned_for_later(bench: Bench) -> None:
    bench.add_after("a", 10)
    bench.add("a")
    bench.end("a", delay=50)
    bench.loop.advance(49)
    assert bench.keys_run == ["a"]
    bench.loop.advance(2)
    assert bench.keys_run == ["a", "a"]


def test_what_somebody_changed_goes_before_what_only_waited(bench: Bench) -> None:
    for key in ("a", "b"):
        bench.add(key)
    for key in ("x", "y"):
        bench.add_after(key, 1)
    bench.loop.advance(1)
    bench.add("c")
    bench.add("y")
    for key in ("a", "b", "c"):
        bench.end(key)
    assert bench.keys_run == ["a", "b", "c", "y", "x"]


def test_what_waited_has_its_turn_however_much_is_changed(bench: Bench) -> None:
    bench.add("a")
    bench.add("b")
    bench.add_after("x", 1)
    bench.loop.advance(1)
    for number in range(2 * RUNS_BEFORE_A_PLANNED_ONE):
        bench.add(f"new {number}")
    while "x" not in bench.keys_run:
        bench.end(bench.keys_run[-1])
    assert len(bench.keys_run) == 2 + RUNS_BEFORE_A_PLANNED_ONE + 1


def test_failures_are_repeated_with_delays_that_double_up_to_a_bound(bench: Bench) -> None:
    bench.add("a")
    for delay in (0.5, 1, 2, 4, 8, 16, 32, 64, 64):
        before = bench.loop.time()
        bench.fail("a")
        bench.loop.advance(delay)
        assert bench.runs[-1] == (before + delay, "a")


def test_a_success_makes_the_next_delay_short_again(bench: Bench) -> None:
    bench.add("a")
    bench.fail("a")
    bench.loop.advance(0.5)
    bench.fail("a")
    bench.loop.advance(1)
    bench.end("a")
    bench.add("a")
    bench.fail("a")
    bench.loop.advance(0.5)
    assert len(bench.runs) == 5


def test_a_failing_key_waits_also_when_it_was_added_meanwhile(bench: Bench) -> None:
    bench.add("a")
    bench.add("a")
    bench.fail("a")
    assert len(bench.runs) == 1
    bench.loop.advance(0.5)
    assert len(bench.runs) == 2


def test_delays_are_spread_over_their_upper_half() -> None:
    with fake_loop() as loop:

        async def fail(_: str) -> None:
            raise OSError("planted")

        async def delays() -> list[float]:
            drawn = iter([0.0, 0.999])
            queue: WorkQueue[str] = WorkQueue(fail, workers=1, draw=lambda: next(drawn))
            for key in ("a", "b"):
                queue.add(key)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return [handle.when() - loop.time() for handle in queue._later.values()]

        assert loop.run_until_complete(delays()) == pytest.approx([0.5, 0.25], abs=0.001)


def test_closing_waits_for_what_runs_and_drops_the_rest(bench: Bench) -> None:
    for key in ("a", "b", "c"):
        bench.add(key)
    bench.add_after("d", 1)
    closing = bench.loop.create_task(bench.queue.close())
    bench.loop.settle()
    assert not closing.done()
    bench.add("e")
    bench.end("a")
    bench.end("b", delay=1)
    assert closing.done()
    bench.loop.advance(100)
    assert bench.keys_run == ["a", "b"]


def test_a_run_that_never_ends_makes_the_queue_unhealthy(bench: Bench) -> None:
    async def is_alive() -> bool:
        return bench.queue.is_alive(longest_run_seconds=60)

    bench.add("a")
    bench.loop.advance(59)
    assert bench.loop.run_until_complete(is_alive())
    bench.loop.advance(2)
    assert not bench.loop.run_until_complete(is_alive())


KEYS = st.sampled_from("abcd")


class QueueMachine(RuleBasedStateMachine):
    """Whatever is added, ends, fails or passes: one run of a key at a time (see Bench), and none lost."""

    def __init__(self) -> None:
        super().__init__()
        self.context = fake_loop()
        self.bench = Bench(self.context.__enter__())
        self.owed: set[str] = set()
        """Keys added since their last run began."""

    @override
    def teardown(self) -> None:
        for _ in range(8):
            self.bench.loop.advance(2 * MAX_DELAY_SECONDS)
            for key in list(self.bench.open):
                self.bench.end(key)
        self._settle_debts()
        self.context.__exit__(None, None, None)
        assert not self.owed, "added, and never run"

    def _settle_debts(self) -> None:
        self.owed -= set(self.bench.keys_run)
        self.bench.runs.clear()

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self._settle_debts()
        self.owed.add(key)
        self.bench.add(key)

    @rule(key=KEYS, seconds=st.floats(0, 100))
    def add_after(self, key: str, seconds: float) -> None:
        self._settle_debts()
        self.owed.add(key)
        self.bench.add_after(key, seconds)

    @rule(seconds=st.floats(0, 100))
    def advance(self, seconds: float) -> None:
        self.bench.loop.advance(seconds)

    @precondition(lambda self: self.bench.open)
    @rule(data=st.data(), delay=st.none() | st.floats(0, 100))
    def end(self, data: st.DataObject, delay: float | None) -> None:
        self.bench.end(data.draw(st.sampled_from(sorted(self.bench.open))), delay)

    @precondition(lambda self: self.bench.open)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self.bench.fail(data.draw(st.sampled_from(sorted(self.bench.open))))

    @invariant()
    def workers_are_used(self) -> None:
        assert self.bench.queue.depth == 0 or len(self.bench.open) == WORKERS


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestQueueMachine = QueueMachine.TestCase
