"""Everything that a spec names outside of itself: URIs and the Secrets that open them.

Found by walking the models, so that a new field with a `uri` needs no entry anywhere: what is mounted and
what a local run asks for follow by themselves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from finetune_api.fields import ApiModel, SecretRef
from finetune_api.output import Output
from finetune_api.runtime import Checkpoints
from finetune_api.uris import ConfigMapUri, PvcUri, TargetUri, Uri, parse_target, parse_uri


@dataclass(frozen=True)
class Reference:
    """A URI in a spec. secret: name of the Secret beside it; is_target: written to, not read."""

    uri: Uri | TargetUri
    secret: str | None
    is_target: bool

    @property
    def claim(self) -> str | None:
        return self.uri.claim if isinstance(self.uri, PvcUri) else None

    @property
    def config_map(self) -> str | None:
        return self.uri.name if isinstance(self.uri, ConfigMapUri) else None


def references(model: ApiModel) -> Iterator[Reference]:
    """Every reference of a model and of the models in it, in the order of their fields."""
    text, secret = getattr(model, "uri", None), getattr(model, "secret_ref", None)
    if isinstance(text, str):
        is_target = isinstance(model, Output | Checkpoints)
        uri = parse_target(text) if is_target else parse_uri(text)
        yield Reference(uri, secret.name if isinstance(secret, SecretRef) else None, is_target)
    for name in type(model).model_fields:
        for part in _models(getattr(model, name)):
            yield from references(part)


def _models(value: Any) -> Iterator[ApiModel]:
    match value:
        case ApiModel():
            yield value
        case list() | tuple():
            for item in value:
                yield from _models(item)
        case dict():
            yield from _models(list(value.values()))
        case _:
            pass
