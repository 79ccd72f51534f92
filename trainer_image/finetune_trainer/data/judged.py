"""Judged sets: queries, a corpus, and judgements of which document answers which query."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from finetune_api.data import EvalSet, Items, Judgements
from finetune_trainer.data.inputs import Cells, Collection, RetrievalData
from finetune_trainer.data.tables import Table, read_table
from finetune_trainer.digests import content_digest
from finetune_trainer.errors import InvalidData
from finetune_trainer.places import Places


def load_judged(source: EvalSet, places: Places) -> RetrievalData:
    """The set with its ids as they are. Queries without a relevant document are left out and counted."""
    assert source.queries is not None  # noqa: S101 - the model has seen to it, here and below
    assert source.corpus is not None  # noqa: S101
    assert source.qrels is not None  # noqa: S101
    queries, table = _read_items(source.queries, places)
    corpus, _ = _read_items(source.corpus, places)
    relevant, judgements = _read_judgements(source.qrels, places, set(queries.ids), set(corpus.ids))
    groups = [str(v) for v in table.values(source.group_by)] if source.group_by else None
    judged = [row for row, query in enumerate(queries.ids) if query in relevant][: source.max_rows]
    if not judged:
        raise InvalidData(
            "EmptyData",
            f"eval set {source.name!r} has no query with a relevant document",
            "lower `minimumGrade`, or correct the judgements",
        )
    texts = [f"{q}\t{d}\t{d in relevant.get(q, ())}" for q, d in judgements]
    parts = [*queries.ids, *queries.keys, "corpus", *corpus.ids, *corpus.keys, "judgements", *texts]
    return RetrievalData(
        name=source.name,
        queries=_picked(queries, judged),
        corpus=corpus,
        relevant={queries.ids[r]: relevant[queries.ids[r]] for r in judged},
        unjudged_queries=len(queries) - len(relevant),
        digest=content_digest(parts),
        groups=tuple(groups[r] for r in judged) if groups else None,
        candidates=_candidates(judgements, [queries.ids[r] for r in judged]) if source.qrels.grade else None,
    )


def _read_items(source: Items, places: Places) -> tuple[Collection, Table]:
    table = read_table(source, places, [source.id, source.input])
    ids = _ids(table, source.id)
    repeated, times = Counter(ids).most_common(1)[0]
    if times > 1:
        first, second = [row for row, i in enumerate(ids) if i == repeated][:2]
        raise InvalidData(
            "DuplicateId",
            f"column {source.id!r} of {table.where} must have each id once, found {repeated!r} in rows"
            f" {first} and {second}",
        )
    column = table.column(source.input)
    cells = Cells([column.cells], [(0, row) for row in range(len(ids))])
    return Collection(tuple(ids), cells, column.keys), table


def _picked(items: Collection, rows: Sequence[int]) -> Collection:
    assert isinstance(items.inputs, Cells)  # noqa: S101 - made above
    return Collection(
        tuple(items.ids[r] for r in rows),
        items.inputs.picked(rows),
        tuple(items.keys[r] for r in rows),
    )


def _read_judgements(
    source: Judgements, places: Places, queries: set[str], corpus: set[str]
) -> tuple[dict[str, frozenset[str]], list[tuple[str, str]]]:
    """Relevant documents by query, and every query with a document that was judged for it."""
    columns = [c for c in (source.query, source.document, source.grade) if c]
    table = read_table(source, places, columns)
    of_query, of_document = _ids(table, source.query), _ids(table, source.document)
    _require_known(of_query, queries, column=source.query, what="queries", where=table.where)
    _require_known(of_document, corpus, column=source.document, what="the corpus", where=table.where)
    grades = _grades(table, source.grade) if source.grade else [source.minimum_grade] * len(of_query)
    judged: dict[tuple[str, str], int] = {}
    for query, document, grade in zip(of_query, of_document, grades, strict=True):
        if judged.setdefault((query, document), grade) != grade:
            raise InvalidData(
                "ConflictingGrades",
                f"{table.where} judges query {query!r} and document {document!r} twice: {grade} and"
                f" {judged[query, document]}",
            )
    relevant: dict[str, set[str]] = {}
    for (query, document), grade in judged.items():
        if grade >= source.minimum_grade:
            relevant.setdefault(query, set()).add(document)
    return {q: frozenset(d) for q, d in relevant.items()}, sorted(judged)


def _candidates(judgements: Sequence[tuple[str, str]], queries: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The documents that were judged for each query, whatever their grade."""
    found: dict[str, list[str]] = {query: [] for query in queries}
    for query, document in judgements:
        if query in found:
            found[query].append(document)
    return {query: tuple(documents) for query, documents in found.items()}


def _require_known(ids: Sequence[str], known: set[str], *, column: str, what: str, where: str) -> None:
    unknown = [row for row, i in enumerate(ids) if i not in known]
    if unknown:
        raise InvalidData(
            "UnknownId",
            f"{len(unknown)} of {len(ids)} judgements in {where} point outside of {what}, the first in row"
            f" {unknown[0]}: {column} {ids[unknown[0]]!r}",
            "add what is missing, or remove the judgements",
        )


def _ids(table: Table, column: str) -> list[str]:
    """Whole numbers and texts are ids, and 7 is "7": one table may have them as numbers, another as texts."""
    values = table.values(column)
    bad = [row for row, v in enumerate(values) if isinstance(v, bool) or not isinstance(v, str | int)]
    if bad:
        raise InvalidData(
            "UnsupportedCell",
            f"row {bad[0]}, column {column!r} of {table.where} must be an id (text or whole number),"
            f" found {type(values[bad[0]]).__name__}",
        )
    return [str(v) for v in values]


def _grades(table: Table, column: str) -> list[int]:
    return [_grade(value, row, column, table.where) for row, value in enumerate(table.values(column))]


def _grade(value: Any, row: int, column: str, where: str) -> int:
    try:
        number = float(value)
        if number == int(number) and not isinstance(value, bool):
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InvalidData(
        "BadGrade",
        f"row {row}, column {column!r} of {where} must be a whole number, found {str(value)[:40]!r}",
    )
