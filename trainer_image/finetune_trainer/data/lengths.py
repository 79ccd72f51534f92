"""Inputs longer than the model takes: texts are cut, and that is said; media must not be, and end the run.

A text is cut where one more word changes nothing of what the model reads. That holds for every tokenizer,
template and route, and costs nothing to know of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune_trainer.data.inputs import Collection, EvaluationData, RetrievalData, TrainingData, TrainingSet
from finetune_trainer.errors import InvalidData

if TYPE_CHECKING:
    from sentence_transformers.base.model import BaseModel

_TEXTS = 512
_MEDIA = 8
"""Inputs of a column that are looked at, evenly spread; media must be decoded for it."""
_AT_ONCE = 32
_ONE_MORE_WORD = " zero"


@dataclass(frozen=True)
class Sample:
    """Inputs of one place in the data. task: as which the model reads them, where that is known."""

    where: str
    task: str | None
    inputs: Sequence[Any]


def check_lengths(
    model: "BaseModel", training: TrainingData, evaluation: Mapping[str, EvaluationData]
) -> list[str]:
    """A note for every place that has texts which are cut.

    Raises InvalidData when an input's end is cut off and media with it, or when it cannot be read at all.
    """
    notes = []
    for sample in _samples(_scores_pairs(model), training, evaluation):
        with _misfits(model, sample):
            notes += _look_at(model, sample)
    return notes


def _look_at(model: "BaseModel", sample: Sample) -> list[str]:
    for value in sample.inputs:
        if not _is_text(value):
            _read(model, [value], sample.task)
    texts = [i for i in sample.inputs if _is_text(i)]
    share = _cut(model, texts, sample.task) / max(len(texts), 1)
    if not share:
        return []
    note = (
        f"{max(share, 0.01):.0%} of the texts of {sample.where} are longer than {_limit(model)};"
        " their ends are cut off"
    )
    return [note]


@contextmanager
def _misfits(model: "BaseModel", sample: Sample) -> Iterator[None]:
    """What the library says of inputs that it cannot read, told as InvalidData.

    Where the task is unknown a Router may not know its route: that is for the loss to settle.
    """
    try:
        yield
    except ValueError as error:
        if cuts_media(error):
            raise media_cut_off(sample.where, _limit(model)) from error
        if sample.task is not None:
            raise InvalidData(
                "UnreadableInput",
                f"{sample.where} has inputs that the model cannot read: {str(error).splitlines()[0][:300]}",
                "take another model, or other columns",
            ) from error


def cuts_media(error: Exception) -> bool:
    """Whether a processor has found less media in its tokens than it was given."""
    return isinstance(error, ValueError) and "token count between text and `input_ids`" in str(error)


def _limit(model: "BaseModel") -> str:
    """Encoders of a Router have limits of their own, of which the library tells the largest."""
    from sentence_transformers.base.modules import Router

    if isinstance(model[0], Router):
        return "what the model takes"
    return f"the {model.max_seq_length} tokens that the model takes"


def media_cut_off(where: str, limit: str = "what the model takes") -> InvalidData:
    return InvalidData(
        "MediaCutOff",
        f"{where} has inputs whose media do not fit into {limit}",
        "raise `model.maxSeqLength`, lower `model.processor.max_pixels`, or shorten the texts",
    )


def _scores_pairs(model: "BaseModel") -> bool:
    from sentence_transformers import CrossEncoder

    return isinstance(model, CrossEncoder)


def _samples(
    pairs: bool, training: TrainingData, evaluation: Mapping[str, EvaluationData]
) -> Iterator[Sample]:
    different = {id(data): data for data in evaluation.values()}.values()
    for one in training.sets:
        yield from _of_training(one, pairs=pairs)
    for data in different:
        yield from _of_pairs(data) if pairs else _of_collections(data)


def _of_training(one: TrainingSet, *, pairs: bool) -> Iterator[Sample]:
    first, *others = one.input_columns
    most = {c: _most(one, c) for c in one.input_columns}
    if pairs:
        for column in others:
            inputs = (_spread_column(one, c, min(most[first], most[column])) for c in (first, column))
            both = list(zip(*inputs, strict=True))
            yield Sample(f"columns {first!r} and {column!r} in train set {one.name!r}", None, both)
        return
    for column in one.input_columns:
        task = None if column.startswith("input") else "query" if column == "query" else "document"
        yield Sample(
            f"column {column!r} in train set {one.name!r}", task, _spread_column(one, column, most[column])
        )


def _most(one: TrainingSet, column: str) -> int:
    from finetune_trainer.data.features import modalities

    return _TEXTS if modalities(one.rows.features[column]) == ("text",) else _MEDIA


def _spread_column(one: TrainingSet, column: str, most: int) -> list[Any]:
    cells = one.rows.select_columns([column])
    return [_one(cells[row][column]) for row in _spread(len(cells), most)]


def _of_collections(data: EvaluationData) -> Iterator[Sample]:
    if isinstance(data, RetrievalData):
        yield Sample(f"queries of eval set {data.name!r}", "query", _some(data.queries))
        yield Sample(f"corpus of eval set {data.name!r}", "document", _some(data.corpus))
        return
    for number, items in enumerate(data.inputs):
        yield Sample(f"inputs {number} of eval set {data.name!r}", None, _some(items))


def _of_pairs(data: EvaluationData) -> Iterator[Sample]:
    if isinstance(data, RetrievalData):
        place = {document: p for p, document in enumerate(data.corpus.ids)}
        rows = _spread(len(data.queries), _MEDIA)
        answers = [place[min(data.relevant[data.queries.ids[row]])] for row in rows]
        both = [(data.queries.inputs[q], data.corpus.inputs[d]) for q, d in zip(rows, answers, strict=True)]
        yield Sample(f"eval set {data.name!r}", None, both)
        return
    rows = _spread(len(data), _MEDIA)
    first, *others = ([_one(items.inputs[row]) for row in rows] for items in data.inputs)
    for other in others:
        yield Sample(f"eval set {data.name!r}", None, list(zip(first, other, strict=True)))


def _some(items: Collection) -> list[Any]:
    most = _TEXTS if _is_text(_one(items.inputs[0])) else _MEDIA
    return [_one(items.inputs[row]) for row in _spread(len(items), most)]


def _one(cell: Any) -> Any:
    """Of a list its first item."""
    return cell[0] if isinstance(cell, list) else cell


def _spread(length: int, most: int) -> list[int]:
    count = min(length, most)
    return [row * length // count for row in range(count)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple) and all(isinstance(v, str) for v in value))


def _longer(text: Any) -> Any:
    """A text, or a pair of texts, with one more word at its end."""
    if isinstance(text, tuple):
        return (*text[:-1], text[-1] + _ONE_MORE_WORD)
    return text + _ONE_MORE_WORD


def _cut(model: "BaseModel", texts: Sequence[Any], task: str | None) -> int:
    return sum(_cut_at_once(model, texts[n : n + _AT_ONCE], task) for n in range(0, len(texts), _AT_ONCE))


def _cut_at_once(model: "BaseModel", texts: Sequence[Any], task: str | None) -> int:
    batch = [text for one in texts for text in (one, _longer(one))]
    tokens: Any = _read(model, batch, task).get("input_ids")
    if tokens is None or tokens.ndim != 2 or len(tokens) != len(batch):
        return 0
    return int((tokens[0::2] == tokens[1::2]).all(dim=1).sum())


def _read(model: "BaseModel", inputs: Sequence[Any], task: str | None) -> dict[str, Any]:
    features: dict[str, Any] = model.preprocess(inputs, **({"task": task} if task else {}))
    return features
