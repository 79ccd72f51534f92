"""Inputs of evaluation data as a reader may see them: short texts, and small pictures inside the page.

Only where `output.samples` allows it; everywhere else ids are all there is.
"""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any, Literal

from PIL.Image import Image, fromarray

from finetune_trainer.comparison.measurement import Measurement
from finetune_trainer.data.inputs import Collection, RetrievalData
from finetune_trainer.reporting.page import Role, Sample

LONGEST_TEXT = 400
_PICTURE_EDGE = 280
_QUALITY = 75


def samples_of(measured: Sequence[Measurement]) -> Callable[[str, Role, str], Sequence[Sample]]:
    """What the page asks: the input of an evaluator's data with this role and id."""
    places = {(m.evaluator.name, role): found for m in measured for role, found in _collections(m).items()}
    row_of = {key: [{i: n for n, i in enumerate(c.ids)} for c in found] for key, found in places.items()}

    def look(evaluator: str, role: Role, identity: str) -> Sequence[Sample]:
        key = (evaluator, role)
        return [
            sample
            for collection, rows in zip(places.get(key, ()), row_of.get(key, ()), strict=True)
            if identity in rows
            for sample in show(collection.inputs[rows[identity]])
        ]

    return look


def _collections(one: Measurement) -> dict[Literal["query", "document", "row"], tuple[Collection, ...]]:
    if isinstance(one.data, RetrievalData):
        return {"query": (one.data.queries,), "document": (one.data.corpus,)}
    return {"row": one.data.inputs}


def show(value: Any) -> list[Sample]:
    """One input: a text, an image, or a dict or list of parts. Of sound the length, of a video a frame."""
    match value:
        case str():
            return [Sample(text=value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}...")]
        case Image():
            return [Sample(picture=_data_uri(value))]
        case list():
            return [sample for part in value for sample in show(part)]
        case dict():
            return [sample for kind, part in value.items() for sample in _show_part(kind, part)]
        case _:
            return []


def _show_part(kind: str, part: Any) -> list[Sample]:
    if kind == "audio":
        seconds = len(part["array"]) / part["sampling_rate"]
        return [Sample(text=f"sound of {seconds:.1f} s")]
    if kind == "video":
        frames = part["array"]
        return [*show(fromarray(frames[len(frames) // 2])), Sample(text=f"video of {len(frames)} frames")]
    return show(part)


def _data_uri(image: Image) -> str:
    small = image.convert("RGB")
    small.thumbnail((_PICTURE_EDGE, _PICTURE_EDGE))
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
