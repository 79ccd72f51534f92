"""What one container sees of the file system: the host's, read-only, and the pod's mounts.

PURE but for reading directories: mounts in, arguments of bubblewrap out. A mount point must exist, and
nothing may be created on the host. So the folders above a mount point are made anew in memory, and
everything else in them is bound there entry by entry; the rest of the tree is bound whole.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# What a container engine grants to root by default; a normal user gets none of them.
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"),
)
# Made by bubblewrap itself, never looked into.
OWN = frozenset({PurePosixPath("/dev"), PurePosixPath("/proc")})
# Writable in any container, so each one gets its own.
SCRATCH = (PurePosixPath("/tmp"), PurePosixPath("/var/tmp"))
DEVICES = ("nvidia*", "dri", "kfd")


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host at a path of the container."""

    source: Path
    target: PurePosixPath
    read_only: bool = False


def build_arguments(mounts: Sequence[Mount], *, hostname: str, working_dir: str) -> list[str]:
    """All of bubblewrap's arguments but the command. `working_dir` exists on the host or in a mount."""
    ordered = sorted(
        ((_resolved(mount.target), mount) for mount in mounts), key=lambda each: len(each[0].parts)
    )
    targets = [target for target, _ in ordered]
    arguments = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", hostname[:63]]
    arguments += ["--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    if os.geteuid() == 0:
        arguments += [word for name in CAPABILITIES for word in ("--cap-add", f"CAP_{name}")]
    arguments += _skeleton(targets)
    for target, mount in ordered:
        arguments += ["--ro-bind" if mount.read_only else "--bind", str(mount.source), str(target)]
    return [*arguments, "--chdir", working_dir]


def _skeleton(targets: Sequence[PurePosixPath]) -> list[str]:
    """Everything below the mounts: synthesised folders and the host's entries in them."""
    made = _folders_to_make(targets)
    arguments: list[str] = []
    for folder in sorted(made, key=lambda path: len(path.parts)):
        if folder != PurePosixPath("/"):
            arguments += ["--dir", str(folder)]
        for entry in _entries(folder):
            if entry not in made and entry not in OWN and entry not in targets:
                arguments += _bind(entry)
        if folder == PurePosixPath("/"):
            arguments += ["--proc", "/proc", "--dev", "/dev", *_devices()]
    return arguments


def _folders_to_make(targets: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """The folders above mount points, but not those inside another mount or in what bubblewrap makes."""
    mounted = set(targets) | OWN
    made = {PurePosixPath("/")}
    for target in targets:
        above = list(reversed(target.parents))
        for folder in above:
            if any(inner in mounted for inner in (folder, *folder.parents)):
                break
            made.add(folder)
    return made


def _entries(folder: PurePosixPath) -> list[PurePosixPath]:
    try:
        return sorted(folder / entry.name for entry in Path(folder).iterdir())
    except OSError:  # not on the host, or not ours to read: it stays empty
        return []


def _bind(entry: PurePosixPath) -> list[str]:
    if Path(entry).is_symlink():
        return ["--symlink", str(Path(entry).readlink()), str(entry)]
    return ["--ro-bind-try", str(entry), str(entry)]


def _devices() -> list[str]:
    return [
        word
        for pattern in DEVICES
        for device in sorted(Path("/dev").glob(pattern))
        for word in ("--dev-bind-try", str(device), str(device))
    ]


def _resolved(target: PurePosixPath) -> PurePosixPath:
    """The path behind the host's symbolic links: /var/run/x is mounted at /run/x, where the link leads to."""
    return PurePosixPath(os.path.realpath(target))
