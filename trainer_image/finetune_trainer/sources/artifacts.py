"""What an OCI artifact is made of: manifests as bytes and as values, by the CNCF's ModelPack.

Every file is a layer of its own, with its path in an annotation. Layers that are tar archives, as other tools
make them, have no name here: the names are in the archive.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune_trainer.errors import InvalidData
from finetune_trainer.sources.file_names import require_plain_name, suffix_of

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
WEIGHT_TYPE = "application/vnd.cncf.model.weight.v1.raw"
WEIGHT_CONFIG_TYPE = "application/vnd.cncf.model.weight.config.v1.raw"
DOCUMENT_TYPE = "application/vnd.cncf.model.doc.v1.raw"
FILE_PATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"
MAX_LAYERS = 10_000
_DOCUMENT_SUFFIXES = (".md", ".html", ".png")
_DOCUMENT_NAMES = ("LICENSE", "NOTICE", "report.json")
Descriptor = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """name: of the file, None of an archive; digest: of its bytes, "sha256:..."."""

    name: str | None
    media_type: str
    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What an artifact consists of. digest: names it for ever."""

    digest: str
    layers: tuple[Layer, ...]
    annotations: Mapping[str, str]


def media_type_of(name: str) -> str:
    """ModelPack's type of a file by its name."""
    if name.endswith(".safetensors"):
        return WEIGHT_TYPE
    is_document = name in _DOCUMENT_NAMES or suffix_of(name) in _DOCUMENT_SUFFIXES
    return DOCUMENT_TYPE if is_document else WEIGHT_CONFIG_TYPE


def config_bytes(layers: Sequence[Descriptor], descriptor: Mapping[str, Any]) -> bytes:
    """ModelPack's configuration. descriptor: name, version, licenses and the like."""
    return _as_json(
        {
            "descriptor": dict(descriptor),
            "modelfs": {"type": "layers", "diffIds": [layer["digest"] for layer in layers]},
            "config": {"format": "safetensors"},
        }
    )


def manifest_bytes(config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str]) -> bytes:
    """The manifest; equal for equal content."""
    return _as_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": dict(config),
            "layers": [dict(layer) for layer in layers],
            "annotations": dict(annotations),
        }
    )


def parse_manifest(content: bytes, digest: str, *, where: str) -> Manifest:
    """Raises InvalidData for what is no manifest of one artifact, or holds what cannot be read."""
    try:
        found = json.loads(content)
        layers = tuple(_parse_layer(layer, where=where) for layer in found["layers"])
        annotations = {str(k): str(v) for k, v in (found.get("annotations") or {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidData(
            "NotAnArtifact",
            f"{where} must be the manifest of one artifact, found something else",
            "let `uri` name an artifact, not an index of several",
        ) from error
    if len(layers) > MAX_LAYERS:
        raise InvalidData("TooManyLayers", f"{where} must have at most {MAX_LAYERS} layers")
    return Manifest(digest, layers, annotations)


def _parse_layer(layer: Mapping[str, Any], *, where: str) -> Layer:
    kind, size = str(layer["mediaType"]), int(layer["size"])
    annotations = layer.get("annotations") or {}
    name = annotations.get(FILE_PATH) or annotations.get(TITLE)
    if kind.endswith("zstd"):
        raise InvalidData("UnknownLayer", f"{where}: layers packed by zstd cannot be read", "use tar or gzip")
    is_archive = ".tar" in kind or kind.endswith(("+gzip", "diff.tar"))
    if is_archive:
        return Layer(None, kind, str(layer["digest"]), size)
    if not isinstance(name, str):
        raise InvalidData("UnknownLayer", f"{where} has a layer ({kind}) without a name or archive")
    require_plain_name(name, where=where)
    return Layer(name, kind, str(layer["digest"]), size)


def _as_json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
