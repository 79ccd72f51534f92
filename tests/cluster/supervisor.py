"""The process that holds one cluster together; `cluster.start` starts it.

It starts the components in order, restarts one that dies later (as a kubelet restarts static pods), and
stops everything on SIGTERM or when its owner is gone. It has one thread, because the kernel's "die with
your parent" means the thread that started a child.
"""

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TypeVar

from tests.cluster import certificates, ports
from tests.cluster.binaries import Toolset
from tests.cluster.client import ApiError, Client, Unreachable
from tests.cluster.controlplane import PORTS, SERVICE_ADDRESS, Plan
from tests.cluster.errors import ClusterError, tail
from tests.cluster.processes import Child, Command
from tests.cluster.state import Folder, Settings, settings_from_json

START_SECONDS = 90
# The node needs this long to end its pods; etcd and the API server end at once.
STOP_SECONDS = {"node": 8.0, "kube-apiserver": 3.0}
RESTART_SECONDS = 0.5
POLL_SECONDS = 0.05
T = TypeVar("T")


class _Ended(Exception):
    """SIGTERM came, or the owner is gone."""


class Supervisor:
    """Starts, watches and stops the components of one cluster."""

    def __init__(self, folder: Folder, settings: Settings, tools: Toolset, owner: int) -> None:
        self._folder = folder
        self._tools = tools
        self._settings = settings
        self._children: list[Child] = []
        self._timings: dict[str, float] = {}
        self._ending = False
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        self._owner = os.pidfd_open(owner) if owner else None
        if owner and os.getppid() != owner:
            raise ClusterError("the owner ended before its cluster started")

    def run(self) -> None:
        """Until told to end; every way out stops the children."""
        try:
            with ExitStack() as stack:
                stack.callback(self._stop_all)
                reserved = stack.enter_context(ports.reserve(PORTS))
                self._start(*reserved)
                self._watch()
        except _Ended:
            pass

    def _start(self, etcd_port: int, peer_port: int, api_port: int) -> None:
        started = time.monotonic()
        self._tools.link_into(self._folder.bin)
        plan = Plan(self._folder, self._tools, self._settings, etcd_port, peer_port, api_port)
        self._timed("certificates", lambda: self._prepare(plan))
        etcd, api_server, *others = plan.commands()
        self._launch(etcd)
        self._launch(api_server)
        client = Client(plan.server, self._folder.pki, "admin")
        self._timed("API server", lambda: self._until(lambda: client.raw("GET", "/readyz") == b"ok"))
        for command in others:
            self._launch(command)
        self._timed("default service account", lambda: self._until(lambda: _has_default_account(client)))
        self._timed("node", lambda: self._until(lambda: _is_ready(client, self._settings.node_name)))
        self._timings["total"] = round(time.monotonic() - started, 2)
        self._write_record(plan.server, ready=True)

    def _prepare(self, plan: Plan) -> None:
        certificates.issue_all(
            self._folder.pki, node=self._settings.node_name, service_address=SERVICE_ADDRESS
        )
        plan.write_kubeconfigs()

    def _write_record(self, server: str, *, ready: bool) -> None:
        components = {child.command.name: child.pid for child in self._children}
        record = {"supervisor": os.getpid(), "server": server, "ready": ready, "components": components}
        self._folder.write_record({**record, "seconds": self._timings, "node": self._settings.node_name})

    def _launch(self, command: Command) -> None:
        self._children.append(Child(command))

    def _timed(self, name: str, step: Callable[[], T]) -> T:
        before = time.monotonic()
        result = step()
        self._timings[name] = round(time.monotonic() - before, 2)
        return result

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        last: Exception | None = None
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except (ApiError, Unreachable) as error:
                last = error
            self._wait(POLL_SECONDS)
            for child in self._children:
                if (code := child.exit_code()) is not None:
                    raise ClusterError(f"{child.command.name} ended with {code}:\n{tail(child.command.log)}")
        logs = "\n".join(f"  {child.command.name}:\n{tail(child.command.log, 5)}" for child in self._children)
        raise ClusterError(f"not ready after {START_SECONDS} s; last answer: {last}\n{logs}")

    def _watch(self) -> None:
        while True:
            self._wait(None)
            for child in [child for child in self._children if child.exit_code() is not None]:
                self._restart(child)

    def _restart(self, child: Child) -> None:
        _say(f"{child.command.name} ended with {child.exit_code()}; starting it again")
        self._wait(RESTART_SECONDS)
        child.close()
        self._children[self._children.index(child)] = Child(child.command)
        self._write_record(self._folder.read_record()["server"], ready=True)

    def _wait(self, seconds: float | None) -> None:
        """Until a child ends, time is up or (raises) the cluster is to end."""
        ends = [self._wake] if self._owner is None else [self._wake, self._owner]
        running = [child.pidfd for child in self._children if child.exit_code() is None]
        readable, _, _ = select.select([*ends, *running], [], [], seconds)
        if self._ending or self._owner in readable:
            raise _Ended

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True

    def _stop_all(self) -> None:
        """The node first: it ends its pods while the API server still takes their last status."""
        for child in reversed(self._children):
            child.stop(STOP_SECONDS.get(child.command.name, 2.0))


def _say(text: str) -> None:
    print(text, flush=True)


def _has_default_account(client: Client) -> bool:
    return client.get("/api/v1/namespaces/default/serviceaccounts/default") is not None


def _is_ready(client: Client, node: str) -> bool:
    found = client.get(f"/api/v1/nodes/{node}")
    conditions = (found or {}).get("status", {}).get("conditions", [])
    tainted = (found or {}).get("spec", {}).get("taints", [])
    return not tainted and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def main() -> int:
    """0 after an ordered end, 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="tests.cluster.supervisor", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--settings", type=settings_from_json, required=True)
    parser.add_argument("--programs", type=Toolset.from_json, required=True)
    parser.add_argument(
        "--owner", type=int, default=0, help="process whose end ends the cluster and its folder"
    )
    arguments = parser.parse_args()
    folder = Folder(arguments.folder)
    with folder.acquire():
        try:
            Supervisor(folder, arguments.settings, arguments.programs, arguments.owner).run()
        except ClusterError as error:
            print(error, file=sys.stderr, flush=True)
            return 1
        finally:
            if arguments.owner and os.getppid() != arguments.owner:
                folder.remove()  # nobody else is left to do it
    return 0


if __name__ == "__main__":
    sys.exit(main())
