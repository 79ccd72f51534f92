"""What a pod refers to, read with the node's own rights: its ConfigMaps, Secrets, claims and tokens."""

from pathlib import Path

from tests.cluster.client import Client, Dict

PLURALS = {"ConfigMap": "configmaps", "Secret": "secrets"}


class PodObjects:
    """The API server as one pod's volumes and variables see it."""

    def __init__(self, client: Client, pod: Dict) -> None:
        self._client = client
        self._pod = pod
        self._namespace = f"/api/v1/namespaces/{pod['metadata']['namespace']}"

    def find(self, kind: str, name: str) -> Dict | None:
        """A ConfigMap or Secret of the pod's namespace."""
        found = self._client.get(f"{self._namespace}/{PLURALS[kind]}/{name}")
        return None if found is None else {**found, "kind": kind}

    def claim_folder(self, claim: str) -> Path | None:
        """Where the claim's volume lies on this machine; None while it is not bound."""
        found = self._client.get(f"{self._namespace}/persistentvolumeclaims/{claim}")
        if found is None or found.get("status", {}).get("phase") != "Bound":
            return None
        volume = self._client.get(f"/api/v1/persistentvolumes/{found['spec']['volumeName']}")
        path = (volume or {}).get("spec", {}).get("hostPath", {}).get("path")
        return Path(path) if path else None

    def token(self, audience: str | None, expiration_seconds: int) -> str:
        """A token of the pod's ServiceAccount that dies with the pod."""
        metadata = self._pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec: Dict = {"expirationSeconds": expiration_seconds, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        account = self._pod["spec"].get("serviceAccountName", "default")
        answer = self._client.create(f"{self._namespace}/serviceaccounts/{account}/token", {"spec": spec})
        return str(answer["status"]["token"])
