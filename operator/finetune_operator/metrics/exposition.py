"""The text of the finetunes' series, kept for each finetune until it changes.

A scrape only joins what is there: made anew each time, the series of 10,000 finetunes would hold the
interpreter for seconds, and every report and request would wait behind them.
"""

from collections.abc import Iterator
from operator import itemgetter

from finetune_operator.decisions.observed import LiveProgress
from finetune_operator.memory import Known, Memory
from finetune_operator.metrics.family import OF, Family
from finetune_operator.metrics.finetunes import FAMILIES, samples

_Lines = tuple[bytes, ...]
"""Of one finetune, by the position of the family in FAMILIES."""


class FinetuneText:
    """The series of every finetune in the memory: those of a deleted one are gone with the next scrape."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._kept: dict[str, tuple[Known, LiveProgress | None, _Lines]] = {}

    def render(self) -> Iterator[bytes]:
        """One piece a family that has series.

        Nothing that garbage collection counts is made for each finetune: it would soon go through all.
        """
        former, self._kept = self._kept, {}
        kept = {}
        for known, live in self._memory.known():
            before = former.get(known.uid)
            is_same = before is not None and before[0] is known and before[1] is live
            kept[known.uid] = before if before is not None and is_same else (known, live, _lines(known, live))
        self._kept = kept
        rows = [lines for _, _, lines in kept.values()]
        for index, family in enumerate(FAMILIES):
            if text := b"".join(map(itemgetter(index), rows)):
                yield _header(family) + text


def _lines(known: Known, live: LiveProgress | None) -> _Lines:
    of = ",".join(f'{name}="{_escape(value)}"' for name, value in zip(OF, known.key, strict=True))
    lines: dict[Family, str] = {}
    for family, values, value in samples(known, live):
        labels = zip(family.labels[len(OF) :], values, strict=True)
        further = "".join(f',{name}="{_escape(text)}"' for name, text in labels)
        lines[family] = f"{lines.get(family, '')}{family.name}{{{of}{further}}} {float(value)!r}\n"
    return tuple(lines.get(family, "").encode() for family in FAMILIES)


def _header(family: Family) -> bytes:
    return f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n".encode()


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
