"""URIs of models, data and targets: parsed once, here.

`hf://owner/name@commit`, `pvc://claim/path`, `https://host/path`. The CEL rules and the parser are the two
halves of one grammar; the tests feed both with the same list.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import StringConstraints

from finetune_api.fields import Rule, ruled

Scheme = Literal["hf", "pvc", "https"]

HF_PATTERN = r"^hf://[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}@[0-9a-f]{40}$"
PVC_PATTERN = r"^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9._=@+-]+)*/?$"
HTTPS_PATTERN = r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[!-~]+$"


@dataclass(frozen=True)
class HfUri:
    """A repository of a Hugging Face hub at one commit."""

    repository: str
    commit: str


@dataclass(frozen=True)
class PvcUri:
    """A path in a PersistentVolumeClaim of the finetune's namespace; `path` is relative and may be empty."""

    claim: str
    path: str


@dataclass(frozen=True)
class HttpsUri:
    """A file on a web server."""

    url: str


Uri = HfUri | PvcUri | HttpsUri


def parse_uri(text: str) -> Uri:
    """Parse a URI that the models below have accepted.

    Raises ValueError with the accepted forms for anything else.
    """
    if re.fullmatch(HF_PATTERN, text):
        repository, commit = text.removeprefix("hf://").split("@")
        return HfUri(repository, commit)
    if re.fullmatch(PVC_PATTERN, text) and not _escapes(text):
        claim, _, path = text.removeprefix("pvc://").partition("/")
        return PvcUri(claim, path.rstrip("/"))
    if re.fullmatch(HTTPS_PATTERN, text) and not urlsplit(text).username:
        return HttpsUri(text)
    raise ValueError(
        f"{text!r} is none of hf://owner/name@<40-digit commit>, pvc://claim/path, https://host/path"
    )


def _escapes(text: str) -> bool:
    return any(part in {".", ".."} for part in text.removeprefix("pvc://").split("/"))


def _cel(pattern: str) -> str:
    """A CEL raw string: backslashes of the pattern stay as they are."""
    return f"self.matches(r'{pattern}')"


_NO_DOTS = r"!self.matches(r'^pvc://.*/[.][.]?(/.*)?$')"


def _allowed(*schemes: Scheme) -> Rule:
    names = " or ".join(f"{s}://" for s in schemes)
    cel = " || ".join(f"self.startsWith('{s}://')" for s in schemes)
    return Rule(
        cel, f"`uri` must begin with {names}", lambda v: v.startswith(tuple(f"{s}://" for s in schemes))
    )


def _form(scheme: Scheme, pattern: str, message: str) -> Rule:
    return Rule(
        f"!self.startsWith('{scheme}://') || {_cel(pattern)}",
        message,
        lambda v: not v.startswith(f"{scheme}://") or re.fullmatch(pattern, v) is not None,
    )


_HF_FORM = _form(
    "hf", HF_PATTERN, "an hf:// `uri` must pin a commit: hf://owner/name@<40 hexadecimal digits>"
)
_PVC_FORM = _form(
    "pvc", PVC_PATTERN, "a pvc:// `uri` must read pvc://claim/path, in letters, digits and . _ = @ + -"
)
_PVC_INSIDE = Rule(_NO_DOTS, "a pvc:// `uri` must not contain . or .. as a folder", lambda v: not _escapes(v))
_HTTPS_FORM = _form(
    "https", HTTPS_PATTERN, "an https:// `uri` must read https://host/path, without user, password or blanks"
)

_Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]

ModelUri = Annotated[_Text, *ruled(_allowed("hf", "pvc"), _HF_FORM, _PVC_FORM, _PVC_INSIDE)]
DataUri = Annotated[
    _Text, *ruled(_allowed("hf", "pvc", "https"), _HF_FORM, _PVC_FORM, _PVC_INSIDE, _HTTPS_FORM)
]
_ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
OutputUri = Annotated[_ShortText, *ruled(_allowed("pvc"), _PVC_FORM, _PVC_INSIDE)]
"""Shorter than the others: a version and a file name go behind it."""
