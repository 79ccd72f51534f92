"""URIs of models, data and targets: parsed once, here.

The CEL rules and the parser are the two halves of one grammar; the tests feed both with the same list. A
source is pinned where its scheme has pins: a commit, a digest. A target has none: publishing gives it one.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import StringConstraints
from typing_extensions import override

from finetune_api.fields import Rule, ruled

Scheme = Literal["hf", "pvc", "s3", "gs", "oci", "https", "configmap"]

_REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_PATH = r"(/[A-Za-z0-9._=@+-]+)*/?"
_OBJECT = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_BUCKET = r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
_IMAGE = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)+"

HF_PATTERN = rf"^hf://{_REPOSITORY}@[0-9a-f]{{40}}$"
HF_TARGET_PATTERN = rf"^hf://{_REPOSITORY}$"
PVC_PATTERN = rf"^pvc://{_OBJECT}{_PATH}$"
STORE_PATTERN = rf"^(s3|gs)://{_BUCKET}{_PATH}$"
OCI_PATTERN = rf"^oci://{_IMAGE}@sha256:[0-9a-f]{{64}}$"
OCI_TARGET_PATTERN = rf"^oci://{_IMAGE}$"
HTTPS_PATTERN = r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[!-~]+$"
CONFIG_MAP_PATTERN = rf"^configmap://{_OBJECT}/[A-Za-z0-9_-][A-Za-z0-9._-]*$"


@dataclass(frozen=True)
class HfUri:
    """A repository of a Hugging Face hub at one commit."""

    repository: str
    commit: str


@dataclass(frozen=True)
class HfTarget:
    """A repository of a Hugging Face hub, to push to."""

    repository: str


@dataclass(frozen=True)
class PvcUri:
    """A path in a PersistentVolumeClaim of the finetune's namespace; `path` is relative and may be empty."""

    claim: str
    path: str


@dataclass(frozen=True)
class StoreUri:
    """An object of a store, or the folder of all whose keys begin with `key` and a slash.

    scheme: s3 or gs; key: without slash at either end, may be empty.
    """

    scheme: Literal["s3", "gs"]
    bucket: str
    key: str

    @override
    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.key}" if self.key else "")


@dataclass(frozen=True)
class OciUri:
    """An artifact in a registry. registry: host and perhaps port; digest: of the manifest, "sha256:..."."""

    registry: str
    repository: str
    digest: str


@dataclass(frozen=True)
class OciTarget:
    """A repository of a registry, to push to."""

    registry: str
    repository: str


@dataclass(frozen=True)
class HttpsUri:
    """A file on a web server."""

    url: str


@dataclass(frozen=True)
class ConfigMapUri:
    """A key of a ConfigMap in the finetune's namespace."""

    name: str
    key: str


Uri = HfUri | PvcUri | StoreUri | OciUri | HttpsUri | ConfigMapUri
TargetUri = PvcUri | StoreUri | HfTarget | OciTarget


def parse_uri(text: str) -> Uri:
    """Parse the URI of a source that the models below have accepted.

    Raises ValueError with the accepted forms for anything else.
    """
    rest = text.partition("://")[2]
    if re.fullmatch(HF_PATTERN, text):
        repository, commit = rest.split("@")
        return HfUri(repository, commit)
    if re.fullmatch(OCI_PATTERN, text):
        image, digest = rest.split("@")
        registry, _, repository = image.partition("/")
        return OciUri(registry, repository, digest)
    if re.fullmatch(HTTPS_PATTERN, text):
        return HttpsUri(text)
    if re.fullmatch(CONFIG_MAP_PATTERN, text):
        name, _, key = rest.partition("/")
        return ConfigMapUri(name, key)
    if (path := _parse_path(text)) is not None:
        return path
    raise ValueError(
        f"{text!r} is none of hf://owner/name@<40-digit commit>, pvc://claim/path, s3://bucket/key,"
        " gs://bucket/key, oci://registry/repository@sha256:<digest>, https://host/path, configmap://name/key"
    )


def parse_target(text: str) -> TargetUri:
    """Parse `output.uri`. Raises ValueError with the accepted forms for anything else."""
    rest = text.partition("://")[2]
    if re.fullmatch(HF_TARGET_PATTERN, text):
        return HfTarget(rest)
    if re.fullmatch(OCI_TARGET_PATTERN, text):
        registry, _, repository = rest.partition("/")
        return OciTarget(registry, repository)
    if (path := _parse_path(text)) is not None:
        return path
    raise ValueError(
        f"{text!r} is none of pvc://claim/path, s3://bucket/key, gs://bucket/key, hf://owner/name,"
        " oci://registry/repository"
    )


def _parse_path(text: str) -> PvcUri | StoreUri | None:
    """What has a place and a path in it, and is written the same for sources and targets."""
    scheme, _, rest = text.partition("://")
    place, _, path = rest.partition("/")
    if _escapes(text):
        return None
    if re.fullmatch(PVC_PATTERN, text):
        return PvcUri(place, path.rstrip("/"))
    if re.fullmatch(STORE_PATTERN, text):
        return StoreUri("s3" if scheme == "s3" else "gs", place, path.rstrip("/"))
    return None


def _escapes(text: str) -> bool:
    return text.startswith(("pvc://", "s3://", "gs://")) and any(
        part in {".", ".."} for part in text.partition("://")[2].split("/")
    )


def _begins(schemes: tuple[Scheme, ...]) -> str:
    return " || ".join(f"self.startsWith('{s}://')" for s in schemes)


def _allowed(*schemes: Scheme) -> Rule:
    names = " or ".join(f"{s}://" for s in schemes)
    prefixes = tuple(f"{s}://" for s in schemes)
    return Rule(_begins(schemes), f"`uri` must begin with {names}", lambda v: v.startswith(prefixes))


def _form(schemes: tuple[Scheme, ...], pattern: str, message: str) -> Rule:
    prefixes = tuple(f"{s}://" for s in schemes)
    return Rule(
        f"!({_begins(schemes)}) || self.matches(r'{pattern}')",
        message,
        lambda v: not v.startswith(prefixes) or re.fullmatch(pattern, v) is not None,
    )


_LETTERS = "in letters, digits and . _ = @ + -"
_HF = _form(("hf",), HF_PATTERN, "an hf:// `uri` must pin a commit: hf://owner/name@<40 hexadecimal digits>")
_HF_TARGET = _form(
    ("hf",), HF_TARGET_PATTERN, "an hf:// `uri` to publish to must read hf://owner/name, without a revision"
)
_PVC = _form(("pvc",), PVC_PATTERN, f"a pvc:// `uri` must read pvc://claim/path, {_LETTERS}")
_STORE = _form(("s3", "gs"), STORE_PATTERN, f"an s3:// or gs:// `uri` must read s3://bucket/key, {_LETTERS}")
_INSIDE = Rule(
    "!self.matches(r'^(pvc|s3|gs)://.*/[.][.]?(/.*)?$')",
    "a pvc://, s3:// or gs:// `uri` must not contain . or .. as a folder",
    lambda v: not _escapes(v),
)
_OCI = _form(
    ("oci",), OCI_PATTERN,
    "an oci:// `uri` must pin a digest: oci://registry/repository@sha256:<64 hexadecimal digits>",
)  # fmt: skip
_OCI_TARGET = _form(
    ("oci",), OCI_TARGET_PATTERN,
    "an oci:// `uri` to publish to must read oci://registry/repository, without a tag or digest",
)  # fmt: skip
_HTTPS = _form(
    ("https",), HTTPS_PATTERN,
    "an https:// `uri` must read https://host/path, without user, password or blanks",
)  # fmt: skip
_CONFIG_MAP = _form(("configmap",), CONFIG_MAP_PATTERN, "a configmap:// `uri` must read configmap://name/key")

_Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
_ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""A version and a file name go behind it."""

ModelUri = Annotated[
    _Text, *ruled(_allowed("hf", "pvc", "s3", "gs", "oci"), _HF, _PVC, _STORE, _INSIDE, _OCI)
]
DataUri = Annotated[
    _Text,
    *ruled(
        _allowed("hf", "pvc", "s3", "gs", "oci", "https", "configmap"),
        _HF, _PVC, _STORE, _INSIDE, _OCI, _HTTPS, _CONFIG_MAP,
    ),
]  # fmt: skip
OutputUri = Annotated[
    _ShortText,
    *ruled(_allowed("pvc", "s3", "gs", "hf", "oci"), _HF_TARGET, _PVC, _STORE, _INSIDE, _OCI_TARGET),
]
CheckpointsUri = Annotated[_ShortText, *ruled(_allowed("s3", "gs"), _STORE, _INSIDE)]

SECRET_OPENS_URI = Rule(
    "!has(self.secretRef) || !has(self.uri)"
    " || !(self.uri.startsWith('pvc://') || self.uri.startsWith('configmap://'))",
    "`secretRef` must be left out for a pvc:// or configmap:// `uri`, which needs none",
    lambda m: m.secret_ref is None or not (m.uri or "").startswith(("pvc://", "configmap://")),
)
"""Of every model that has both."""
