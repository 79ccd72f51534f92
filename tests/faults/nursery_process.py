"""Starts operators in a few milliseconds: this process has imported everything, and forks for each of them.

One JSON object a line: `{"start": id, "environment": {...}, "log": path}` comes in; `{"id", "pid"}` and later
`{"id", "code"}` go out, the code as `subprocess` has it. When the input ends, everything ends.

    python -m tests.faults.nursery_process [--clock]

--clock: the wall clock of operators is off by the seconds that stand in the file named by TEST_CLOCK_FILE.
"""

import json
import os
import selectors
import signal
import sys
from typing import Any

if "--clock" in sys.argv:
    from tests.faults import clock

    clock.install()

from kubernetes.config import kube_config

from finetune_operator import main


def serve() -> None:
    """Returns only in a forked process, which is an operator from then on."""
    selector = selectors.DefaultSelector()
    # Without a buffer: what is in one, the selector does not see.
    orders = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    selector.register(orders, selectors.EVENT_READ, None)
    children: dict[str, int] = {}
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                _reap(selector, key.fd, key.data, children)
            elif not (line := orders.readline()):
                return _end(children)
            elif _start(selector, json.loads(line), children):
                return None


def _start(selector: selectors.BaseSelector, order: dict[str, Any], children: dict[str, int]) -> bool:
    pid = os.fork()
    if pid == 0:
        _become(order)
        return True
    children[order["start"]] = pid
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, order["start"])
    _say({"id": order["start"], "pid": pid})
    return False


def _become(order: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(order["environment"])
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = os.environ["KUBECONFIG"]  # it was read while importing
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    sys.argv = ["finetune-operator"]


def _reap(selector: selectors.BaseSelector, fd: int, name: str, children: dict[str, int]) -> None:
    selector.unregister(fd)
    os.close(fd)
    _, status = os.waitpid(children.pop(name), 0)
    _say({"id": name, "code": os.waitstatus_to_exitcode(status)})


def _end(children: dict[str, int]) -> None:
    for pid in children.values():
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    serve()
    main.cli()
