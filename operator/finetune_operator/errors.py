"""What may end a look at a finetune early: the user must act (Stalled), or time must pass (Waiting).

Everything else rises to the queue, which tries again with growing delays.
"""


class Stalled(Exception):
    """The user must change something; until then every further try would end the same way."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Waiting(Exception):
    """Something else must happen first; look again after `retry_after_seconds`."""

    def __init__(self, reason: str, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds
