"""Which processes of this machine carry a mark on their command line or in their environment."""

from pathlib import Path


def processes_with(mark: str) -> list[int]:
    """Ids of living processes; zombies have neither command line nor environment any more."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in text:
            found.append(int(folder.name))
    return found
