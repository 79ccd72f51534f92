"""Binds claims to folders of this machine, as the provisioner of the default StorageClass `local`.

A volume is the folder `<volumes>/<namespace>/<claim>`; it is removed with its claim. Claims of any class
are served, so that examples work as they are written, except of a class whose name says that it does not
exist.
"""

import shutil
from pathlib import Path

from tests.cluster.client import ApiError, Client, Dict
from tests.cluster.node.informer import Informer

CLASS = "local"
PROVISIONER = "embeddings.dev/local"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
MISSING_CLASS = "does-not-exist"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
VOLUMES = "/api/v1/persistentvolumes"
CONFLICT = 409


class Provisioner:
    """Listens to claims and volumes; Kubernetes' own controller joins the two."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder

    def start(self) -> None:
        """Make the class, then listen."""
        self._create_class()
        Informer(self._client, "/api/v1/persistentvolumeclaims", self._claim_changed).start()
        Informer(self._client, VOLUMES, self._volume_changed).start()

    def _create_class(self) -> None:
        """Make the default StorageClass, unless it is there."""
        body = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
        }
        self._create(CLASSES, body)

    def _claim_changed(self, claim: Dict, exists: bool) -> None:
        spec = claim["spec"]
        wanted = exists and "deletionTimestamp" not in claim["metadata"] and not spec.get("volumeName")
        if wanted and MISSING_CLASS not in spec.get("storageClassName", ""):
            self._create(VOLUMES, build_volume(claim, self._folder))

    def _volume_changed(self, volume: Dict, exists: bool) -> None:
        ours = volume["metadata"].get("annotations", {}).get(PROVISIONED_BY) == PROVISIONER
        if exists and ours and volume.get("status", {}).get("phase") == "Released":
            shutil.rmtree(volume["spec"]["hostPath"]["path"], ignore_errors=True)
            self._client.delete(f"{VOLUMES}/{volume['metadata']['name']}")

    def _create(self, path: str, body: Dict) -> None:
        try:
            self._client.create(path, body)
        except ApiError as error:
            if error.status != CONFLICT:
                raise


def build_volume(claim: Dict, folder: Path) -> Dict:
    """The volume for a claim, and the folder it stands for."""
    metadata, spec = claim["metadata"], claim["spec"]
    path = folder / metadata["namespace"] / metadata["name"]
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o777)  # as for any other user of the claim's pods
    reference = {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}
    reference |= {key: metadata[key] for key in ("namespace", "name", "uid")}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec.get("storageClassName", ""),
            "hostPath": {"path": str(path), "type": "Directory"},
            "claimRef": reference,
        },
    }
