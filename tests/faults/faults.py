"""What can go wrong between the operator and the API server; the same seed draws the same faults."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import NoReturn

from typing_extensions import override

from tests.faults.calls import Call

Kill = Callable[[], None]
REASONS = {
    409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip
SLOW_SECONDS = 2.0
EXPIRED = b'{"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}\n'


class Reset(Exception):
    """The connection breaks without a further byte."""


@dataclass(frozen=True)
class Answer:
    """Of the API server, or in its place."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Fault:
    """None: everything passes. Faults replace what they need."""

    async def instead(self, _: Call) -> Answer | None:
        """An answer in place of the API server's, which is not asked then. May raise Reset."""
        return None

    async def answered(self, _: Call, answer: Answer) -> Answer:
        """What becomes of its answer: what was asked has been done. May raise Reset."""
        return answer

    async def lines(self, _: Call, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What becomes of the lines of a watch. May raise Reset."""
        async for line in source:
            yield line


def an_error(code: int, headers: dict[str, str] | None = None) -> Answer:
    """A Status object as the API server writes it."""
    status = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": REASONS[code], "message": f"an injected {code}", "code": code,
    }  # fmt: skip
    return Answer(code, json.dumps(status).encode(), {"Content-Type": "application/json", **(headers or {})})


class KillAfterWrites(Fault):
    """Kills the operator once its k-th write is done, for each of these k, before it gets the answer."""

    def __init__(self, kill: Kill, numbers: range, *, is_answered: bool = False) -> None:
        self._kill = kill
        self._numbers = numbers
        self._is_answered = is_answered
        self.writes = 0

    @override
    async def answered(self, call: Call, answer: Answer) -> Answer:
        if call.is_write and answer.status < 300:
            self.writes += 1
            if self.writes in self._numbers:
                self._kill()
                if not self._is_answered:
                    raise Reset
        return answer


class LoseAnswers(Fault):
    """What is written is done, but of these writes nobody hears: the n-th, counted from 1."""

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers
        self.writes = 0

    @override
    async def answered(self, call: Call, answer: Answer) -> Answer:
        if call.is_write:
            self.writes += 1
            if self.writes in self._numbers:
                raise Reset
        return answer


class HangAfterWrites(LoseAnswers):
    """The same, and the connection stays open: the operator has to give up by itself."""

    @override
    async def answered(self, call: Call, answer: Answer) -> Answer:
        try:
            return await super().answered(call, answer)
        except Reset:
            await _for_ever()


class Errors(Fault):
    """Conflicts, throttling, server errors, timeouts, resets and lost answers on a share of all calls."""

    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._random = random.Random(seed)
        self.injected = 0

    @override
    async def instead(self, call: Call) -> Answer | None:
        if not self._hits():
            return None
        kinds = ["429", "500", "503", "504", "reset", "slow"] + (["409"] if call.is_write else [])
        kind = self._random.choice(kinds)
        if kind == "reset":
            raise Reset
        if kind == "slow":
            await asyncio.sleep(SLOW_SECONDS)
            return an_error(504)
        return an_error(int(kind), {"Retry-After": "1"} if kind == "429" else None)

    @override
    async def answered(self, call: Call, answer: Answer) -> Answer:
        if call.is_write and self._hits():
            raise Reset
        return answer

    @override
    async def lines(self, call: Call, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in source:
            if self._hits():
                yield line[: len(line) // 2]
                raise Reset
            yield line

    def _hits(self) -> bool:
        hits = self._random.random() < self._rate
        self.injected += hits
        return hits


async def up_to(number: int, source: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
    """The first so many lines, each with whether it is the last of them."""
    count = 0
    async for line in source:
        count += 1
        yield line, count >= number
        if count >= number:
            return


class CutWatches(Fault):
    """Every watch ends in the middle of its n-th line."""

    def __init__(self, after_lines: int) -> None:
        self._after_lines = after_lines

    @override
    async def lines(self, call: Call, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line, is_last in up_to(self._after_lines, source):
            if is_last:
                yield line[: len(line) // 2]
                raise Reset
            yield line


class ExpireWatches(Fault):
    """Every watch ends with 410 in place of its n-th line: what was not seen is only in a new list."""

    def __init__(self, after_lines: int) -> None:
        self._after_lines = after_lines

    @override
    async def lines(self, call: Call, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line, is_last in up_to(self._after_lines, source):
            yield EXPIRED if is_last else line


class StallWatches(Fault):
    """Watches that are open or begin stay open and say nothing, not even bookmarks, until `end`."""

    def __init__(self) -> None:
        self.is_over = False

    @override
    async def lines(self, call: Call, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in source:
            if not self.is_over:
                await _for_ever()
            yield line


class DisturbEvents(Fault):
    """Drops, repeats and swaps events. A watch ends after a while; the new list tells what was missed."""

    def __init__(self, seed: int, *, rate: float, watch_seconds: float) -> None:
        self._random = random.Random(seed)
        self._rate = rate
        self._watch_seconds = watch_seconds

    @override
    async def lines(self, call: Call, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(self._watch_seconds):
                async for line in self._disturbed(source):
                    yield line
        except TimeoutError:
            yield EXPIRED

    async def _disturbed(self, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        held = b""
        async for line in source:
            what = (
                self._random.choice(("drop", "repeat", "hold")) if self._random.random() < self._rate else ""
            )
            if what == "hold" and not held:
                held = line
            elif what != "drop":
                yield line * (2 if what == "repeat" else 1) + held
                held = b""


class StaleLists(Fault):
    """An API server that is behind: frozen, it lists what there was at first, and its watches stand still."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], Answer] = {}
        self.is_frozen = False

    @override
    async def instead(self, call: Call) -> Answer | None:
        return self._seen.get((call.kind, call.namespace)) if self.is_frozen and call.verb == "list" else None

    @override
    async def answered(self, call: Call, answer: Answer) -> Answer:
        if call.verb == "list":
            self._seen.setdefault((call.kind, call.namespace), answer)
        return answer

    @override
    async def lines(self, call: Call, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while self.is_frozen:  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.05)
        async for line in source:
            yield line


async def _for_ever() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError
