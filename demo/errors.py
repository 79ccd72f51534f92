"""What the demo says when it cannot go on."""


class DemoError(Exception):
    """The message tells what was found and the next step."""
