"""A language small enough to be learnt in seconds: a query says two words, a document says them its own way.

Documents are texts, pictures, sounds or clips. Held-out pairs are of known words in unknown combinations.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

COUNT = 16
HELD_OUT_EVERY = 5


@dataclass(frozen=True)
class Pair:
    """Two different words, by number."""

    first: int
    second: int

    @property
    def query(self) -> str:
        return f"ka{self.first:02d} ka{self.second:02d}"

    @property
    def document(self) -> str:
        return f"zu{self.first:02d} zu{self.second:02d}"

    @property
    def name(self) -> str:
        """Of a file."""
        return f"{self.first:02d}-{self.second:02d}"

    def shared(self, other: "Pair") -> int:
        """Words that both say in the same place."""
        return (self.first == other.first) + (self.second == other.second)


@dataclass(frozen=True)
class Split:
    train: tuple[Pair, ...]
    test: tuple[Pair, ...]


def split_pairs(count: int = COUNT) -> Split:
    """All ordered pairs of `count` words; every fifth is held out."""
    pairs = [Pair(a, b) for a, b in itertools.permutations(range(count), 2)]
    held_out = tuple(pairs[::HELD_OUT_EVERY])
    rest = [pair for number, pair in enumerate(pairs) if number % HELD_OUT_EVERY]
    random.Random(0).shuffle(rest)
    return Split(tuple(rest), held_out)


def others(pair: Pair, among: Sequence[Pair], count: int, seed: int = 0) -> list[Pair]:
    """Different pairs that are no answer, the same ones every time."""
    chance = random.Random(f"{seed} {pair.name}")
    return chance.sample([p for p in among if p != pair], count)


def vocabulary(count: int = COUNT) -> Iterator[str]:
    """Texts with every word of both tongues, for building a tokenizer."""
    for number in range(count):
        yield from (f"ka{number:02d}", f"zu{number:02d}")
