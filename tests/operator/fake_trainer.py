"""Stands in for `finetune-trainer pod` where a test is about the operator: same contract, no training.

`spec.training.args.play` says what it does; it goes through the same files, variables, token and exit codes.
"""

import json
import os
import signal
import ssl
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CONFIG = Path("/etc/finetune/run.json")
TERMINATION = Path("/dev/termination-log")
CHECKPOINTS = Path("/var/run/finetune/checkpoints")
BASE, TUNED = "0.63", "0.72"


def post(percent: int, phase: str, **metrics: str) -> None:
    values = {"phase": phase, "current_step": str(percent), "total_steps": "100", **metrics}
    status = {
        "progressPercentage": percent,
        "estimatedRemainingSeconds": 100 - percent,
        "metrics": [{"name": name, "value": value} for name, value in values.items()],
        "lastUpdatedTime": datetime.now(UTC).isoformat(),
    }
    send({"trainerStatus": status})


def send(body: dict[str, Any]) -> None:
    """Reports are best effort: what cannot be sent is said in the log."""
    token = Path(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read_text().strip()
    request = urllib.request.Request(  # noqa: S310 - https, to the operator
        os.environ["KUBEFLOW_TRAINER_SERVER_URL"],
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=os.environ["KUBEFLOW_TRAINER_SERVER_CA_CERT"])
    try:
        urllib.request.urlopen(request, timeout=15, context=context).close()  # noqa: S310 - as above
    except OSError as error:
        print(f"not reported: {error}", flush=True)


def report(run: dict[str, Any], outcome: str, **parts: Any) -> None:
    text = json.dumps({"version": 1, "uid": run["uid"], "run": run["run"], "outcome": outcome, **parts})
    TERMINATION.write_text(text)
    send({"report": json.loads(text)})


def measured(*, passed: bool) -> dict[str, Any]:
    primary = {
        "name": "dev_cosine_ndcg@10", "dimension": 384, "queries": 200, "clusters": 200, "comparedTo": "Base",
        "baseline": BASE, "tuned": TUNED, "gain": "0.09", "gainLow": "0.05", "gainHigh": "0.13",
        "wins": 60, "ties": 120, "losses": 20,
    }  # fmt: skip
    gate = {"evaluator": "dev", "metric": "ndcg@10", "passed": passed, "message": f"found {TUNED}"}
    return {"primary": primary, "metrics": [], "gates": [gate]}


def succeed(run: dict[str, Any]) -> int:
    post(50, "Training", loss="0.5")
    uri = run["spec"].get("output", {}).get("uri", "")
    version = f"{uri}/{run['run']}-0123456789ab"
    artifact = {
        "uri": version,
        "digest": "sha256:0123",
        "run": run["run"],
        "report": f"{version}/report.json",
    }
    parts = {"artifact": artifact} if uri else {}
    report(run, "Succeeded", measured=measured(passed=True), lineage=lineage(), **parts)
    return 0


def fail_the_gate(run: dict[str, Any]) -> int:
    report(run, "GateFailed", measured=measured(passed=False), lineage=lineage())
    return 0


def fail(
    run: dict[str, Any], code: int, reason: str, message: str, hint: str = "", *, retryable: bool = False
) -> int:
    failure = {"reason": reason, "message": message, "hint": hint, "retryable": retryable}
    report(run, "Failed", failure=failure)
    return code


def find_bad_data(run: dict[str, Any]) -> int:
    hint = "It has query and text: correct spec.data.train[0].columns."
    return fail(run, 11, "InvalidData", "column 'positive' is not in the data", hint)


def tell_what_is_there(run: dict[str, Any]) -> int:
    """Fail with the variable MARK and the file /mnt/extra/mark, as this pod finds them."""
    message = json.dumps([os.environ["MARK"], Path("/mnt/extra/mark").read_text()])
    return fail(run, 11, "Told", message)


def end(run: dict[str, Any]) -> int:
    """With the exit code `args.code`, saying so in the log alone."""
    code = int(run["spec"]["training"]["args"]["code"])
    print(f"the last line before code {code}", flush=True)
    return code


def use_too_much_gpu_memory(run: dict[str, Any]) -> int:
    message = "GPU memory ran out at batch 64"
    return fail(run, 21, "CudaOutOfMemory", message, "lower training.batchSize", retryable=True)


def hold(_: dict[str, Any]) -> int:
    """Train for ever, step by step, until a signal comes."""
    for percent in range(1, 100):
        post(percent, "Training", loss=f"{1 / percent:.4f}", samples_per_second="31.2")
        time.sleep(0.2)
    signal.pause()
    return 1


def wait_for_a_file(run: dict[str, Any]) -> int:
    """Train until the file `go` lies on the output's volume, then succeed."""
    claim = run["spec"]["output"]["uri"].removeprefix("pvc://").split("/")[0]
    for percent in range(1, 10_000):
        if (Path("/volumes") / claim / "go").exists():
            return succeed(run)
        post(min(percent, 99), "Training")
        time.sleep(0.1)
    return 1


def checkpoint(run: dict[str, Any]) -> int:
    """Train and save now and then, and when asked to stop; succeed once the file `go` lies beside it all."""
    saved = CHECKPOINTS / run["uid"] / str(run["run"])
    saved.parent.mkdir(parents=True, exist_ok=True)
    began = int(saved.read_text()) if saved.exists() else 0
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    kept = {"checkpoint_step": str(began)} if began else {}
    for step in range(began + 1, 10_000):
        if (CHECKPOINTS / "go").exists():
            return succeed(run)
        post(min(step, 99), "Training", **{"resumed_step": str(began), "current_step": str(step), **kept})
        if asked or step % 50 == 0:
            saved.write_text(str(step))
            kept = {"checkpoint_step": str(step)}
        if asked:
            failure = {"reason": "Interrupted", "message": "asked to stop", "hint": "", "retryable": True}
            report(run, "Failed", failure=failure, checkpointStep=step)
            return 143
        time.sleep(0.1)
    return 1


def lineage() -> dict[str, Any]:
    return {
        "model": "0" * 40, "trainData": "sha256:1", "evalData": "sha256:2", "seed": 42, "miniBatchSize": 64,
        "image": os.environ["FINETUNE_IMAGE"],
    }  # fmt: skip


_PLAYS = (
    succeed, fail_the_gate, find_bad_data, tell_what_is_there, end, use_too_much_gpu_memory, hold,
    wait_for_a_file, checkpoint,
)  # fmt: skip
PLAYS = {play.__name__: play for play in _PLAYS}


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    if sys.argv[1:] != ["pod"]:
        return 2
    run = json.loads(CONFIG.read_text())
    post(0, "Preparing")
    return PLAYS[run["spec"]["training"]["args"]["play"]](run)


if __name__ == "__main__":
    sys.exit(main())
