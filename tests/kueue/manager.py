"""The real Kueue beside a local cluster: its definitions, its webhooks and its controller, as one process.

It is built from its Go module on demand, and its manifests are read from the same module, so that both are of
one version. Webhooks are reached by URL: pods and Services of the local cluster have no network of their own.
"""

import base64
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import Cluster
from tests.cluster.binaries import MODULES, ensure_built, require_program
from tests.cluster.certificates import Authority, Identity
from tests.cluster.client import ApiError
from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually

Json = dict[str, Any]
API = "/apis/kueue.x-k8s.io/v1beta2"
_WEBHOOKS = ("batch-v1-job", "kueue-x-k8s-io")
"""Parts of the paths of those that are needed: for Jobs and for Kueue's own kinds."""
START_SECONDS = 60.0


@contextlib.contextmanager
def running_kueue(cluster: Cluster, folder: Path) -> Iterator[Path]:
    """Kueue, for as long as the context lasts; gives its log. folder: an empty one for keys and log."""
    program = ensure_built(MODULES["kueue"], print) / "kueue"
    with reserve(2) as (port, health_port):
        authority = Authority(folder)
        authority.issue(Identity("tls", "kueue", hosts=("127.0.0.1",)))
        _install(cluster, f"https://127.0.0.1:{port}", (folder / "ca.crt").read_bytes())
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_configuration(folder, port, health_port)))
        log = folder / "kueue.log"
        with log.open("wb") as output:
            environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
            command = [*_with_certificates(folder), program, f"--config={config}"]
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            eventually(
                lambda: _serves(cluster, process, log), f"Kueue serves, see {log}", seconds=START_SECONDS
            )
            yield log
        finally:
            process.terminate()
            process.wait(30)
            _uninstall(cluster)


def _with_certificates(folder: Path) -> list[str | Path]:
    """Kueue looks for those of its metrics in /etc, whether or not it serves any."""
    places: list[str | Path] = [
        "--dev-bind",
        "/",
        "/",
        "--tmpfs",
        "/etc",
        "--ro-bind",
        folder,
        "/etc/kueue/metrics/certs",
    ]
    return [require_program("bwrap", "bubblewrap"), "--die-with-parent", *places]


def kueue_object(kind: str, name: str, spec: Json | None = None) -> Json:
    """One of Kueue's own, ready to be created."""
    metadata = {"name": name}
    return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": metadata, "spec": spec or {}}


def _configuration(folder: Path, port: int, health_port: int) -> Json:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": "kueue-system",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health_port}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": port, "certDir": str(folder)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "integrations": {"frameworks": ["batch/job"]},
        "featureGates": {"VisibilityOnDemand": False},
    }


def _install(cluster: Cluster, url: str, authority: bytes) -> None:
    manifests = _module_folder() / "config/components"
    client = {"caBundle": base64.b64encode(authority).decode()}
    definitions = [yaml.safe_load(p.read_text()) for p in sorted((manifests / "crd/bases").glob("*.yaml"))]
    patches = yaml.safe_load((manifests / "crd/kustomization.yaml").read_text())["patches"]
    converted = {Path(p["path"]).stem.removeprefix("webhook_in_") for p in patches}
    for definition in definitions:
        if definition["spec"]["names"]["plural"] not in converted:
            continue
        webhook = {"clientConfig": {**client, "url": f"{url}/convert"}, "conversionReviewVersions": ["v1"]}
        definition["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    hooks = [
        _reached_by(h, url, client)
        for h in yaml.safe_load_all((manifests / "webhook/manifests.yaml").read_text())
    ]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kueue-system"}}
    text = yaml.safe_dump_all([namespace, *definitions, *hooks])
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    kinds = {definition["spec"]["names"]["plural"] for definition in definitions}
    eventually(lambda: kinds <= _discovered(cluster), "Kueue's kinds are served")


def _discovered(cluster: Cluster) -> set[str]:
    return {resource["name"] for resource in (cluster.client.get(API) or {}).get("resources", [])}


def _uninstall(cluster: Cluster) -> None:
    """The webhooks at least: without the process behind them no Job could be made any more."""
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        name = kind.removesuffix("configurations").replace("webhook", "-webhook-configuration")
        cluster.client.delete(f"/apis/admissionregistration.k8s.io/v1/{kind}/{name}")


def _reached_by(hooks: Json, url: str, client: Json) -> Json:
    kept = []
    for hook in hooks["webhooks"]:
        path = hook["clientConfig"]["service"]["path"]
        if any(part in path for part in _WEBHOOKS):
            kept.append({**hook, "clientConfig": {**client, "url": f"{url}{path}"}})
    return {**hooks, "webhooks": kept}


def _module_folder() -> Path:
    command = ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kueue"]
    done = subprocess.run(
        command, cwd=MODULES["kueue"].folder, capture_output=True, text=True, check=True, timeout=120
    )
    return Path(done.stdout.strip())


def _serves(cluster: Cluster, process: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether an object of Kueue's passes its webhooks."""
    if process.poll() is not None:
        raise RuntimeError(f"Kueue ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    flavor = kueue_object("ResourceFlavor", "any")
    try:
        cluster.client.request("POST", f"{API}/resourceflavors", flavor, query={"dryRun": "All"})
    except ApiError:
        return False
    return True
