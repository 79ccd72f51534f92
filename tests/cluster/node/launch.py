"""From a container of a pod to a process, or the reason not to start it yet."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tests.cluster.client import Dict
from tests.cluster.node.container import Invocation
from tests.cluster.node.environment import MissingReference, build_command, build_environment
from tests.cluster.node.sandbox import SCRATCH, Mount, build_arguments
from tests.cluster.node.slot import Slot
from tests.cluster.node.volumes import Volumes

# Images are never read. One whose name says so cannot be "pulled", so that tests see what follows.
MISSING_IMAGE = "does-not-exist"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "/tmp"
CHECKOUT = Path(__file__).parents[3]


class Refused(Exception):
    """The container cannot be started now; `reason` is shown in its status, `event` names the Warning."""

    def __init__(self, reason: str, event: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.event = event


@dataclass(frozen=True)
class Launcher:
    """What all containers of the node share."""

    bwrap: Path
    path: str
    """Put first into PATH."""
    api_host: str
    api_port: str

    def prepare(self, pod: Dict, slot: Slot, volumes: Volumes) -> Invocation:
        """Everything for the next run. Raises Refused."""
        container = slot.spec
        _check_image(slot)
        try:
            environment = build_environment(pod, container, self._base(pod), volumes.objects.find)
        except MissingReference as error:
            raise Refused("CreateContainerConfigError", "Failed", f"Error: {error}") from error
        command = build_command(container, environment)
        if not command:
            raise Refused(
                "RunContainerError", "Failed", "this node reads no images, so a container needs a command"
            )
        message = slot.folder / f"{slot.starts}.message"
        message.touch()
        scratch = volumes.folder.parent / "scratch" / slot.name
        shutil.rmtree(scratch, ignore_errors=True)  # a restarted container finds nothing of the last run
        working_dir = container.get("workingDir") or "/"
        try:
            mounts = [*volumes.mounts(container, environment), *_own_mounts(container, message)]
        except MissingReference as error:
            raise Refused("CreateContainerConfigError", "Failed", f"Error: {error}") from error
        mounts += _scratch_mounts(scratch, mounts, working_dir)
        mounts += program_mounts(self.path, mounts)
        sandbox = build_arguments(mounts, hostname=pod["metadata"]["name"], working_dir=working_dir)
        return Invocation(self.bwrap, sandbox, environment, command, slot.log_of(slot.starts), message)

    def _base(self, pod: Dict) -> Mapping[str, str]:
        return {
            "PATH": f"{self.path}:{SYSTEM_PATH}",
            "HOSTNAME": pod["metadata"]["name"],
            "HOME": HOME,
            "KUBERNETES_SERVICE_HOST": self.api_host,
            "KUBERNETES_SERVICE_PORT": self.api_port,
            "KUBERNETES_SERVICE_PORT_HTTPS": self.api_port,
        }


def _check_image(slot: Slot) -> None:
    image = slot.spec.get("image", "")
    if MISSING_IMAGE in image:
        again = slot.state.get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff")
        reason, event = ("ImagePullBackOff", "BackOff") if again else ("ErrImagePull", "Failed")
        told = f'Back-off pulling image "{image}"' if again else f'Failed to pull image "{image}": not found'
        raise Refused(reason, event, told)


def _own_mounts(container: Dict, message: Path) -> list[Mount]:
    path = container.get("terminationMessagePath") or "/dev/termination-log"
    return [Mount(message, PurePosixPath(path))]


def _scratch_mounts(folder: Path, mounts: list[Mount], working_dir: str) -> list[Mount]:
    """Writable folders of the container itself, where the pod mounts nothing."""
    wanted = list(SCRATCH)
    if not Path(working_dir).is_dir():
        wanted.append(PurePosixPath(working_dir))
    taken = {mount.target for mount in mounts}
    result = []
    for target in wanted:
        if target not in taken:
            source = folder / "_".join(target.parts[1:])
            source.mkdir(parents=True, exist_ok=True)
            source.chmod(0o777)
            result.append(Mount(source, target))
    return result


def program_mounts(path: str, mounts: Sequence[Mount]) -> list[Mount]:
    """Programs of the host stand in for images, so no mount may hide them: a checkout below /tmp, say.

    path: folders of programs, as in PATH.
    """
    hiding = {mount.target for mount in mounts}
    needed = [*path.split(os.pathsep), sys.prefix, sys.base_prefix, str(CHECKOUT)]
    folders = {PurePosixPath(folder) for folder in needed if folder}
    return [
        Mount(Path(folder), folder, read_only=True)
        for folder in sorted(folders)
        if hiding.intersection(folder.parents)
    ]
