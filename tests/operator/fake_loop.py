"""An event loop whose clock only moves when it is told to: timing tests without waiting."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from typing_extensions import override


class FakeLoop(asyncio.SelectorEventLoop):
    """`time()` stands still until `advance`; timers that become due run in their order."""

    def __init__(self) -> None:
        self._fake_time = 1000.0
        super().__init__()

    @override
    def time(self) -> float:
        return self._fake_time

    def settle(self) -> None:
        """Run everything that can run now."""
        for _ in range(8):
            self.call_soon(self.stop)
            self.run_forever()

    def advance(self, seconds: float) -> None:
        """Move the clock, stopping at every timer on the way."""
        end = self._fake_time + seconds
        while (due := self._next_timer()) is not None and due <= end:
            self._fake_time = max(self._fake_time, due)
            self.settle()
        self._fake_time = end
        self.settle()

    def _next_timer(self) -> float | None:
        timers = [handle.when() for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        return min(timers, default=None)


@contextmanager
def fake_loop() -> Iterator[FakeLoop]:
    loop = FakeLoop()
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.settle()
        asyncio.set_event_loop(None)
        loop.close()
