"""What can go wrong with the local cluster itself: one class, as a person has to read it."""

from pathlib import Path


class ClusterError(Exception):
    """The cluster could not be built, started, found or stopped; the message says what to do next."""


def tail(path: Path, lines: int = 15) -> str:
    """The end of a component's log, indented, for the message of an error."""
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        return f"    (no log: {error})"
    return "\n".join("    " + line for line in text.splitlines()[-lines:]) or "    (the log is empty)"
