"""Fills the volumes of a pod on this machine and finds what each container mounts of them.

`fill` may be called again while the pod runs: changed ConfigMaps and Secrets are written anew, tokens are
renewed when most of their time is over. What is missing raises MissingReference; the pod waits and tries
again.
"""

import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tests.cluster.client import Dict
from tests.cluster.node.environment import (
    MissingReference,
    binary_data,
    expand,
    field_value,
    resource_value,
)
from tests.cluster.node.files import File, write_files
from tests.cluster.node.objects import PodObjects
from tests.cluster.node.sandbox import Mount

# As a kubelet does: a token is renewed when a fifth of its life is left.
RENEW_AFTER = 0.8
MODE = 0o644


class Volumes:
    """The volumes of one pod, under a folder of its own."""

    def __init__(self, pod: Dict, folder: Path, objects: PodObjects) -> None:
        self._pod = pod
        self.folder = folder
        self.objects = objects
        self._declared: dict[str, Dict] = {
            volume["name"]: volume for volume in pod["spec"].get("volumes", ())
        }
        self._tokens: dict[tuple[str, str], tuple[float, bytes]] = {}
        self._filled_at = 0.0
        self.paths: dict[str, Path] = {}

    def fill(self) -> None:
        """Make every volume ready to be mounted. Raises MissingReference."""
        for name, volume in self._declared.items():
            self.paths[name] = self._fill(name, volume)
        self._filled_at = time.monotonic()

    def refresh(self, *, every_seconds: float) -> None:
        """Write what has changed since, at most that often. Raises MissingReference."""
        if time.monotonic() - self._filled_at >= every_seconds:
            self._filled_at = time.monotonic()
            for name, volume in self._declared.items():
                if is_generated(volume):
                    write_files(self.folder / name, self._files(name, volume))

    def mounts(self, container: Dict, environment: dict[str, str]) -> Iterator[Mount]:
        """What this container mounts."""
        for mount in container.get("volumeMounts", ()):
            source = self.paths[mount["name"]]
            if sub := mount.get("subPath") or expand(mount.get("subPathExpr", ""), environment):
                source = self._sub_path(source, sub)
            volume = self._declared[mount["name"]]
            claim_is_read_only = volume.get("persistentVolumeClaim", {}).get("readOnly", False)
            read_only = bool(mount.get("readOnly") or claim_is_read_only or is_generated(volume))
            yield Mount(source, PurePosixPath(mount["mountPath"]), read_only)

    def _sub_path(self, source: Path, sub: str) -> Path:
        if ".." in PurePosixPath(sub).parts:
            raise MissingReference(f"subPath {sub!r} leaves its volume")
        path = source / sub
        if not path.exists():
            path.mkdir(parents=True)
        # As with a kubelet, a subPath keeps the version it was mounted with.
        return path.resolve()

    def _fill(self, name: str, volume: Dict) -> Path:
        folder = self.folder / name
        if "persistentVolumeClaim" in volume or "ephemeral" in volume:
            return self._claim(name, volume)
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        if "emptyDir" in volume:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            return folder
        write_files(folder, self._files(name, volume))
        return folder

    def _claim(self, name: str, volume: Dict) -> Path:
        named_by_pod = f"{self._pod['metadata']['name']}-{name}"
        claim = volume.get("persistentVolumeClaim", {}).get("claimName") or named_by_pod
        folder = self.objects.claim_folder(claim)
        if folder is None:
            raise MissingReference(f'persistentvolumeclaim "{claim}" not found or not bound')
        return folder

    def _files(self, name: str, volume: Dict) -> dict[str, File]:
        for kind in ("configMap", "secret", "downwardAPI"):
            if kind in volume:
                return dict(
                    self._source_files(name, kind, volume[kind], volume[kind].get("defaultMode", MODE))
                )
        if "projected" not in volume:
            kinds = ", ".join(kind for kind in volume if kind != "name")
            raise MissingReference(f"volume {name}: this node cannot provide {kinds}")
        mode = volume["projected"].get("defaultMode", MODE)
        return {
            path: file
            for source in volume["projected"].get("sources", ())
            for kind, content in source.items()
            for path, file in self._source_files(name, kind, content, mode)
        }

    def _source_files(self, volume: str, kind: str, source: Dict, mode: int) -> Iterator[tuple[str, File]]:
        match kind:
            case "configMap" | "secret":
                yield from self._object_files(kind, source, mode)
            case "downwardAPI":
                for item in source.get("items", ()):
                    yield item["path"], File(self._downward(item).encode(), item.get("mode", mode))
            case "serviceAccountToken":
                yield source["path"], File(self._token(volume, source), 0o600 if mode == MODE else mode)
            case _:
                raise MissingReference(f"volume {volume}: this node cannot project {kind}")

    def _object_files(self, kind: str, source: Dict, mode: int) -> Iterator[tuple[str, File]]:
        name = source.get("secretName") or source["name"]
        found = self.objects.find("ConfigMap" if kind == "configMap" else "Secret", name)
        if found is None:
            if source.get("optional"):
                return
            raise MissingReference(f'{kind.lower()} "{name}" not found')
        entries = binary_data(found)
        for item in source.get("items") or ({"key": key, "path": key} for key in entries):
            if item["key"] in entries:
                yield item["path"], File(entries[item["key"]], item.get("mode", mode))
            elif not source.get("optional"):
                raise MissingReference(
                    f"references non-existent config key: {item['key']} in {kind.lower()} {name}"
                )

    def _downward(self, item: Dict) -> str:
        if "fieldRef" in item:
            return field_value(self._pod, item["fieldRef"]["fieldPath"])
        return resource_value(self._pod, {}, item["resourceFieldRef"])

    def _token(self, volume: str, source: Dict) -> bytes:
        key = (volume, source["path"])
        renew_at, token = self._tokens.get(key, (0.0, b""))
        if time.monotonic() >= renew_at:
            seconds = int(source.get("expirationSeconds") or 3600)
            token = self.objects.token(source.get("audience"), seconds).encode()
            self._tokens[key] = (time.monotonic() + seconds * RENEW_AFTER, token)
        return token


def is_generated(volume: Dict) -> bool:
    """Whether this node writes its files, so that the pod may only read them."""
    return any(kind in volume for kind in ("configMap", "secret", "projected", "downwardAPI"))
