"""The table of faults: what was tried, and what was seen."""

from collections.abc import Iterator, Mapping

from tests.faults.laboratory import Result

HEAD = ("fault", "lives", "operator ended", "slowest life", "beyond none", "requests", "took", "seen")
ENDS = {-9: "killed", 3: "lease lost", 1: "broke down"}


def rows(results: Mapping[str, Result]) -> Iterator[str]:
    """One line a fault, aligned."""
    cells = [HEAD, *(_cells(name, result) for name, result in results.items())]
    widths = [max(len(row[n]) for row in cells) for n in range(len(HEAD))]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(name: str, result: Result) -> tuple[str, ...]:
    ends = ", ".join(f"{count} x {ENDS.get(code, f'code {code}')}" for code, count in result.exits.items())
    seen = f"{len(result.problems)} PROBLEMS" if result.problems else "as without it"
    return (
        name,
        str(result.lives),
        ends or "-",
        f"{result.slowest_seconds:.1f} s",
        f"{result.slower_seconds:+.1f} s",
        str(result.requests),
        f"{result.seconds:.0f} s",
        "; ".join((seen, *result.notes)),
    )
