"""`python -m tests.cluster.node`: started by the supervisor, one process a cluster."""

import argparse
from pathlib import Path

from tests.cluster.node.agent import run_agent
from tests.cluster.state import settings_from_json

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.cluster.node", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of the cluster")
    parser.add_argument("--server", required=True, help="URL of the API server")
    parser.add_argument("--settings", type=settings_from_json, required=True)
    arguments = parser.parse_args()
    run_agent(arguments.folder, arguments.server, arguments.settings)
