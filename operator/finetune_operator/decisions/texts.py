"""Texts that others wrote, made fit for a status: no credentials in URLs, no more room than there is."""

import re

_ACTORS = ("You:", "Platform team:")
_USER_IN_URL = re.compile(r"(?<=://)[^\s/@]+@")
_QUERY_OF_URL = re.compile(r"\?[^\s\"')]+")
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,15}://\S+", re.IGNORECASE)


def without_credentials(text: str) -> str:
    """URLs lose user, password and query: signed links and tokens travel in them."""
    return _URL.sub(lambda url: _QUERY_OF_URL.sub("", _USER_IN_URL.sub("", url[0])), text)


def clip(text: str, length: int) -> str:
    """The beginning, in at most `length` characters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def log_tail(text: str, length: int) -> str:
    """The last whole lines, in at most `length` characters (of one longer line, its end)."""
    text = without_credentials(text).strip()
    if len(text) <= length:
        return text
    tail = text[-length:]
    return tail.partition("\n")[2] or tail


def sentence(text: str) -> str:
    """The text as a sentence, so that another can follow it."""
    text = text.strip()
    return text if not text or text[-1] in ".!?" else f"{text}."


def next_step(*, you: str = "", platform: str = "") -> str:
    """Who does what next: `You` has the finetune, the `Platform team` has the cluster and the operator."""
    steps = zip(_ACTORS, (you, platform), strict=True)
    return " ".join(sentence(f"{who} {what}") for who, what in steps if what)


def as_next_step(hint: str) -> str:
    """A hint of the trainer's, which speaks to the user alone, or one of ours as it is."""
    return hint if not hint or hint.startswith(_ACTORS) else next_step(you=hint)
