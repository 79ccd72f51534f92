"""Holds the operator beside a cluster that the demo left up: `python -m demo.kept_operator FOLDER LOG`.

Says "leading" once on stdout, and ends the operator when the cluster is gone.
"""

import sys
import time
from pathlib import Path

from demo.cluster_setup import OPERATOR_SETTINGS
from tests.cluster import attach
from tests.operator.process import running_operator

_POLL_SECONDS = 1.0


def main() -> None:
    """Hold it."""
    folder, log = (Path(argument) for argument in sys.argv[1:])
    cluster = attach(folder)
    with running_operator(cluster, log=log, settings=OPERATOR_SETTINGS):
        print("leading", flush=True)
        while cluster.folder.is_alive():
            time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
