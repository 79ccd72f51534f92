"""The keyed queue between events and `reconcile`.

- A key runs at most once at a time; added while it runs, it runs once more.
- What somebody changed goes before what only the time has come for, so that thousands that wait do not hold
  up a new one; but every few runs one of those has its turn.
- However often a key is added before it runs, it runs once.
- A run may ask to be repeated later; the earliest such time holds. A run that starts takes back what was
  planned for later: it will plan anew from what it sees.
- A run that fails is repeated with growing delays and jitter, also when its key was added meanwhile:
  an event must not turn a failing key into a busy loop.

It does not know what a key is nor what a run does.
"""

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")

logger = logging.getLogger(__name__)

# 0.5, 1, 2, ... 64 s: a passing refusal costs little, a long one makes one try a minute and key.
FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 64.0
# So many added keys may run while one waits whose time has come.
RUNS_BEFORE_A_PLANNED_ONE = 4
# Each delay is drawn from its upper half, or all keys that failed together would come back together.
JITTER = 0.5


class WorkQueue(Generic[K]):
    """Runs keys on a fixed number of workers. All methods belong to the loop's own thread."""

    def __init__(
        self,
        run: Callable[[K], Awaitable[float | None]],
        *,
        workers: int,
        waited: Callable[[float], None] = lambda _: None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """run: handles one key, and says after how many seconds it should run again, if at all.

        waited: told how many seconds each key waited for a worker.
        """
        self._run = run
        self._waited = waited
        self._draw = draw
        # In the order of coming, with the time of it; keyed, because a planned key that is added moves over.
        self._added: OrderedDict[K, float] = OrderedDict()
        self._planned: OrderedDict[K, float] = OrderedDict()
        self._passed_over = 0
        self._work_or_end = asyncio.Semaphore(0)
        self._running: dict[K, float] = {}
        self._again: set[K] = set()
        self._later: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._is_closing = False
        self._workers = [asyncio.create_task(self._work(), name=f"worker {i}") for i in range(workers)]

    def add(self, key: K) -> None:
        """Run the key as soon as a worker is free."""
        if self._is_closing or key in self._added:
            return
        if key in self._running:
            self._again.add(key)
            return
        was_planned = key in self._planned
        self._added[key] = self._planned.pop(key, asyncio.get_running_loop().time())
        if not was_planned:
            self._work_or_end.release()

    def add_after(self, key: K, seconds: float) -> None:
        """Run the key in so many seconds, unless it is to run earlier anyway."""
        if self._is_closing:
            return
        loop = asyncio.get_running_loop()
        planned = self._later.get(key)
        if planned is not None:
            if planned.when() <= loop.time() + seconds:
                return
            planned.cancel()
        self._later[key] = loop.call_later(seconds, self._due, key)

    @property
    def depth(self) -> int:
        """Keys that could run now and wait for a worker."""
        return len(self._added) + len(self._planned)

    def is_alive(self, *, longest_run_seconds: float) -> bool:
        """Whether all workers are there and none has been busy with one key for longer than that."""
        now = asyncio.get_running_loop().time()
        is_stuck = any(now - since > longest_run_seconds for since in self._running.values())
        return not is_stuck and not any(worker.done() for worker in self._workers)

    async def close(self) -> None:
        """Let running keys come to their end; those that wait are dropped: the next start lists all."""
        self._is_closing = True
        for planned in self._later.values():
            planned.cancel()
        self._later.clear()
        self._added.clear()
        self._planned.clear()
        for _ in self._workers:
            self._work_or_end.release()
        await asyncio.gather(*self._workers)

    async def _work(self) -> None:
        while True:
            await self._work_or_end.acquire()
            if not (waiting := self._next()):
                return  # closing
            key, since = waiting.popitem(last=False)
            now = self._running[key] = asyncio.get_running_loop().time()
            self._waited(now - since)
            if planned := self._later.pop(key, None):
                planned.cancel()
            delay = await self._delay_after_run(key)
            del self._running[key]
            if delay is not None:
                self.add_after(key, delay)
            if key in self._again and key not in self._failures:
                self.add(key)
            self._again.discard(key)

    def _next(self) -> OrderedDict[K, float]:
        """Where the next key is to be taken from; empty when nothing waits."""
        is_turn = self._passed_over >= RUNS_BEFORE_A_PLANNED_ONE
        if self._planned and (is_turn or not self._added):
            self._passed_over = 0
            return self._planned
        self._passed_over += bool(self._planned)
        return self._added

    async def _delay_after_run(self, key: K) -> float | None:
        try:
            delay = await self._run(key)
        except Exception as error:  # whatever it is: tell it, and try again later
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = self._backoff(failures)
            logger.warning(
                "run failed", extra={"key": key, "retry_seconds": round(delay, 1), "error": repr(error)}
            )
            logger.debug("details", exc_info=error)
        else:
            self._failures.pop(key, None)
        return delay

    def _backoff(self, failures: int) -> float:
        longest = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 32))
        return longest * (1 - JITTER * self._draw())

    def _due(self, key: K) -> None:
        del self._later[key]
        if key in self._running:
            self._again.add(key)
        elif key not in self._added and key not in self._planned:
            self._planned[key] = asyncio.get_running_loop().time()
            self._work_or_end.release()
