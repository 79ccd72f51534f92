"""What a check says that looks further into a spec than rules can; the same for operator and trainer."""


class Refused(ValueError):
    """The spec cannot work. `reason` is CamelCase and stable, `hint` the next step."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
