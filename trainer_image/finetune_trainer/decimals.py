"""Numbers as people and status read them."""


def decimal(value: float) -> str:
    """Four decimals, never a negative zero."""
    return f"{round(value, 4) + 0:.4f}"
