"""Which units (queries, rows, texts) are not independent of each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def clusters(shared: Sequence[frozenset[str]]) -> Labels:
    """(units,) number of each unit's cluster, counted from 0 in order of appearance.

    shared: what each unit has that others may have too, as the relevant documents of a query. Units are in
    one cluster when they share something, also by way of other units.
    """
    parent = list(range(len(shared)))

    def root(unit: int) -> int:
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    first_unit: dict[str, int] = {}
    for unit, things in enumerate(shared):
        for thing in things:
            parent[root(unit)] = root(first_unit.setdefault(thing, unit))
    return renumbered([root(u) for u in range(len(shared))])


def renumbered(names: Sequence[object]) -> Labels:
    """The same partition, counted from 0 in order of appearance."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
