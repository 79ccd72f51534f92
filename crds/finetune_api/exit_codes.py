"""Exit codes of the trainer: the Job's podFailurePolicy and the operator act on them.

Codes from 10 to 19 are for the user to mend and end the run at once; the others count as an attempt.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How the trainer ended."""

    DONE = 0
    """All stages done; in the pod also when a gate said no (the Report tells)."""
    INTERNAL = 1
    """An error nobody foresaw."""
    USAGE = 2
    """The command line was wrong."""
    GATE_NOT_PASSED = 3
    """Only of `finetune-trainer run`: measured, not good enough, not published."""
    BAD_SPEC = 10
    BAD_DATA = 11
    BAD_MODEL = 12
    NO_ACCESS = 13
    """A source or the target refused: missing, wrong or insufficient credentials."""
    TARGET_IN_USE = 14
    """The target holds the models of another finetune."""
    SOURCE_UNAVAILABLE = 20
    """A source did not answer or broke off."""
    OUT_OF_MEMORY = 21
    STORAGE = 22
    """A disk is full or read-only."""
    INTERRUPTED = 143
    """Stopped by a signal."""


USER_ERRORS = tuple(sorted(code for code in ExitCode if 10 <= code < 20))
"""Codes that another attempt cannot mend."""
