"""Measures the operator at scale: the real API server, pretended pods, the operator as a process.

Every size has a cluster of its own. The controller manager's client is not limited (see tests/cluster): at
its default of 20 requests/s it would make 8 pods a second.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.costs import load_average
from tests.bench.scale import Times, measure

EPILOG = """\
The row for 1 applies 50 finetunes, each when the one before has its Job. Per-finetune figures cover apply to
running and the pod's end to settled; the reports between are counted by themselves. Bars: see `bar`.
Times grow when the machine is busy: the load average is told. 10000 take about ten minutes on two cores.
"""
BARS = {
    "apply_to_job_p99_seconds": "<= 0.2 (1)",
    "last_job_seconds": "<= 20 (1000)",
    "finetunes_per_second": ">= 60",
    "life_requests": "<= 8",
    "life_operator_cpu_ms": "<= 30",
    "reports_per_second": ">= 100",
    "status_writes_per_10_seconds": "<= 1",
    "memory_most_mib": "<= 256 (1000), 512 (10000)",
    "idle_requests": "0",
    "idle_status_writes": "0",
}


def main() -> int:
    arguments = _arguments()
    began = time.monotonic()
    times = Times(reports=arguments.report_seconds, idle=arguments.idle_seconds)
    print(f"{os.cpu_count()} cores, load average {load_average():.1f}", file=sys.stderr)
    rows = []
    for count in arguments.finetunes:
        with tempfile.TemporaryDirectory(prefix="finetune-bench-") as folder:
            log = arguments.log or Path(folder) / "operator.log"
            rows.append(measure(count, times, log, lambda text: _tell(began, text)))
        print(table(rows), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def table(rows: list[dict[str, float]]) -> str:
    """One line a figure, one column a size."""
    figures = list(dict.fromkeys(name for row in rows for name in row))
    width = max(len(name) for name in figures)
    lines = []
    for name in figures:
        values = "".join(_cell(row.get(name, 0.0)) for row in rows)
        lines.append(f"{name:{width}}{values}  {BARS.get(name, '')}".rstrip())
    return "\n".join(lines)


def _cell(value: float) -> str:
    return f"{value:>12,.3g}" if value < 1000 else f"{value:>12,.0f}"


def _tell(began: float, text: str) -> None:
    print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.operator",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--finetunes",
        type=int,
        nargs="+",
        default=[1, 100, 1000],
        metavar="N",
        help="sizes (default: 1 100 1000)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep the operator's log there")
    parser.add_argument("--report-seconds", type=float, default=20, help="how long pods report (default: 20)")
    parser.add_argument(
        "--idle-seconds", type=float, default=30, help="how long nothing happens (default: 30)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
