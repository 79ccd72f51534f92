"""The command lines of etcd, the API server, the controller manager, the scheduler and the node.

PURE but for the kubeconfig files: given a folder, programs and ports, what is to be run. Flags that are a
decision rather than a path say why.
"""

import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import Toolset
from tests.cluster.processes import Command
from tests.cluster.state import Folder, Settings, settings_to_json

SERVICE_RANGE = "10.0.0.0/24"
SERVICE_ADDRESS = "10.0.0.1"
ISSUER = "https://kubernetes.default.svc.cluster.local"
REPOSITORY = Path(__file__).parents[2]
PORTS = 3


@dataclass(frozen=True)
class Plan:
    """One cluster, before it is started."""

    folder: Folder
    tools: Toolset
    settings: Settings
    etcd_port: int
    peer_port: int
    api_port: int

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    def commands(self) -> tuple[Command, ...]:
        """In the order of starting: each one waits for those before it by itself or is waited for."""
        return self._etcd(), self._api_server(), self._controller_manager(), self._scheduler(), self._node()

    def write_kubeconfigs(self) -> None:
        """The person's own kubeconfig, and one for each component that reads such a file."""
        write_kubeconfig(self.folder.kubeconfig, self.server, self.folder.pki, certificate="admin")
        for name in ("controller-manager", "scheduler"):
            write_kubeconfig(
                self.folder.pki / f"{name}.kubeconfig", self.server, self.folder.pki, certificate=name
            )

    def _pki(self, file: str) -> str:
        return str(self.folder.pki / file)

    def _etcd(self) -> Command:
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        flags = {
            "name": "local",
            "data-dir": str(self.folder.etcd),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"local={peer}",
            # Nothing here has to survive a power cut.
            "unsafe-no-fsync": "true",
            # One member elects itself: the sooner, the earlier the API server starts.
            "heartbeat-interval": "50",
            "election-timeout": "250",
            "snapshot-count": "10000",
            "quota-backend-bytes": str(4 << 30),
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "10m",
            "log-level": "warn",
        }
        return self._command("etcd", flags)

    def _api_server(self) -> Command:
        flags = {
            "etcd-servers": f"http://127.0.0.1:{self.etcd_port}",
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": str(self.api_port),
            "tls-cert-file": self._pki("apiserver.crt"),
            "tls-private-key-file": self._pki("apiserver.key"),
            "client-ca-file": self._pki("ca.crt"),
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "service-account-issuer": ISSUER,
            "service-account-signing-key-file": self._pki("service-accounts.key"),
            "service-account-key-file": self._pki("service-accounts.pub"),
            "service-cluster-ip-range": SERVICE_RANGE,
            # Endpoints refuse a loopback address; pods are told the real one by the node.
            "endpoint-reconciler-type": "none",
            "kubelet-client-certificate": self._pki("kubelet-client.crt"),
            "kubelet-client-key": self._pki("kubelet-client.key"),
            "kubelet-certificate-authority": self._pki("ca.crt"),
            "kubelet-preferred-address-types": "InternalIP",
            "allow-privileged": "true",
            # Restarts in tests should not wait for a minute of open watches.
            "shutdown-delay-duration": "0s",
            "profiling": "false",
        }
        return self._command("kube-apiserver", flags)

    def _controller_manager(self) -> Command:
        flags = {
            **self._client_flags("controller-manager"),
            "root-ca-file": self._pki("ca.crt"),
            "service-account-private-key-file": self._pki("service-accounts.key"),
            "cluster-signing-cert-file": self._pki("ca.crt"),
            "cluster-signing-key-file": self._pki("ca.key"),
            "use-service-account-credentials": "true",
            "secure-port": "0",
            "profiling": "false",
        }
        return self._command("kube-controller-manager", flags)

    def _scheduler(self) -> Command:
        flags = {**self._client_flags("scheduler"), "secure-port": "0", "profiling": "false"}
        return self._command("kube-scheduler", flags)

    def _client_flags(self, name: str) -> dict[str, str]:
        return {
            "kubeconfig": self._pki(f"{name}.kubeconfig"),
            # One of each: an election would only delay the start.
            "leader-elect": "false",
            # At the default of 20 requests/s the Job controller makes 8 pods a second.
            "kube-api-qps": "1000",
            "kube-api-burst": "2000",
        }

    def _node(self) -> Command:
        arguments = (
            *(sys.executable, "-m", "tests.cluster.node"),
            *("--folder", str(self.folder.path), "--server", self.server),
            *("--settings", settings_to_json(self.settings)),
        )
        return Command("node", arguments, self.folder.logs / "node.log")

    def _command(self, program: str, flags: dict[str, str]) -> Command:
        arguments = (str(self.tools[program]), *(f"--{flag}={value}" for flag, value in flags.items()))
        return Command(program, arguments, self.folder.logs / f"{program}.log")


def write_kubeconfig(
    path: Path, server: str, pki: Path, *, certificate: str = "", token: str = "", namespace: str = "default"
) -> None:
    """A kubeconfig for a client certificate of the cluster's CA or for a bearer token.

    Written as JSON, which is YAML too; keys are embedded, so that the file can be copied elsewhere.
    """
    user = {"token": token}
    if certificate:
        user = {
            "client-certificate-data": _base64(pki / f"{certificate}.crt"),
            "client-key-data": _base64(pki / f"{certificate}.key"),
        }
    cluster = {"server": server, "certificate-authority-data": _base64(pki / "ca.crt")}
    context = {"cluster": "local", "user": "user", "namespace": namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "local", "context": context}],
        "current-context": "local",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
