"""Times as Kubernetes writes them."""

import datetime


def now() -> datetime.datetime:
    """The wall clock, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def seconds_text(moment: datetime.datetime) -> str:
    """metav1.Time."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_text(moment: datetime.datetime) -> str:
    """metav1.MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
