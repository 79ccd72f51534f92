"""Kubernetes quantities ("500m", "2Gi") as numbers."""

import math
import re
from fractions import Fraction

SUFFIXES = {
    "": Fraction(1),
    **{unit: Fraction(1000) ** power for power, unit in ((-3, "n"), (-2, "u"), (-1, "m"), (1, "k"))},
    **{unit: Fraction(1000) ** power for power, unit in enumerate(("M", "G", "T", "P", "E"), 2)},
    **{unit: Fraction(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def parse(quantity: str) -> Fraction:
    """The exact value. Raises ValueError for anything that is no quantity."""
    match = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)", quantity)
    if match is None or match[2] not in SUFFIXES:
        raise ValueError(f"{quantity!r} is not a quantity")
    return Fraction(match[1]) * SUFFIXES[match[2]]


def in_units_of(quantity: str, divisor: str) -> int:
    """How many divisors make the quantity, rounded up as the kubelet does."""
    unit = parse(divisor)
    return math.ceil(parse(quantity) / (unit or 1))
