"""Sets in NanoBEIR's layout: `corpus`, `queries` and `qrels` (and `bm25`), each with one split a data set.

All data sets become one set of rankings. Ids get their data set's name in front, since two may number alike;
a query's group is its data set, and its candidates are documents of that alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from finetune_api.data import EvalSet, Items, Judgements
from finetune_api.tables import TableSource
from finetune_trainer.data.inputs import Cells, Collection, RetrievalData, joined
from finetune_trainer.data.judged import load_judged
from finetune_trainer.data.tables import read_table
from finetune_trainer.digests import content_digest
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.places import Places
from finetune_trainer.sources.fetch import list_files
from finetune_trainer.sources.splits import TABLE_SUFFIXES, listed, table_name

_INPUTS = ("text", "image", "audio", "video")


def load_nano_beir(source: EvalSet, places: Places, *, by_bm25: bool) -> RetrievalData:
    """by_bm25: the candidates of a query are what BM25 found, best first; else its data set's whole corpus.

    Raises InvalidData when a part is absent.
    """
    names = _data_sets(source, places)
    sets = [_load(source, name, places) for name in names]
    candidates = [
        _bm25(source, name, one, places) if by_bm25 else dict.fromkeys(one.queries.ids, one.corpus.ids)
        for name, one in zip(names, sets, strict=True)
    ]
    return RetrievalData(
        name=source.name,
        queries=_joined([(n, s.queries) for n, s in zip(names, sets, strict=True)]),
        corpus=_joined([(n, s.corpus) for n, s in zip(names, sets, strict=True)]),
        relevant={
            f"{name}/{query}": frozenset(f"{name}/{d}" for d in documents)
            for name, one in zip(names, sets, strict=True)
            for query, documents in one.relevant.items()
        },
        unjudged_queries=sum(one.unjudged_queries for one in sets),
        digest=content_digest(part for n, s in zip(names, sets, strict=True) for part in (n, s.digest)),
        groups=tuple(n for n, s in zip(names, sets, strict=True) for _ in s.queries.ids),
        candidates={
            f"{name}/{query}": documents
            for name, found in zip(names, candidates, strict=True)
            for query, documents in _named(name, found).items()
        },
    )


def _named(name: str, found: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Ids with the data set's name in front; queries that share their documents go on sharing them."""
    shared = {id(documents): documents for documents in found.values()}
    named = {key: tuple(f"{name}/{d}" for d in documents) for key, documents in shared.items()}
    return {query: named[id(documents)] for query, documents in found.items()}


def _data_sets(source: EvalSet, places: Places) -> list[str]:
    if (source.uri or "").startswith("oci://"):
        raise InvalidSpec(
            "WrongScheme",
            f"eval set {source.name!r}: a set in NanoBEIR's layout must lie in a hub, a volume or a bucket,"
            f" found {source.uri}",
            "copy it there, or give `queries`, `corpus` and `qrels` of their own",
        )
    names = [PurePosixPath(n) for n in list_files(source.uri or "", source.secret_ref, places)]
    found = {table_name(n) for n in names if n.parent.as_posix() == "qrels" and n.suffix in TABLE_SUFFIXES}
    if not found:
        raise InvalidData(
            "NoTable",
            f"{source.uri} must have tables qrels/<data set>.*, corpus/<data set>.* and"
            f" queries/<data set>.*; found {listed(map(str, names))}",
            "correct `uri`, or give the eval set `columns`, or `queries`, `corpus` and `qrels`",
        )
    return sorted(found)


def _part(source: EvalSet, part: str, data_set: str) -> dict[str, object]:
    """Where a part lies: in a hub a subset, elsewhere a folder."""
    uri = source.uri or ""
    place = {"uri": uri, "subset": part} if uri.startswith("hf://") else {"uri": f"{uri.rstrip('/')}/{part}"}
    return {**place, "split": data_set, "secret_ref": source.secret_ref}


def _load(source: EvalSet, data_set: str, places: Places) -> RetrievalData:
    one = EvalSet.model_validate(
        {
            "name": source.name,
            "queries": _items(source, "queries", data_set, places),
            "corpus": _items(source, "corpus", data_set, places),
            "qrels": Judgements.model_validate(
                {**_part(source, "qrels", data_set), "query": "query-id", "document": "corpus-id"}
            ),
        }
    )
    return load_judged(one, places)


def _items(source: EvalSet, part: str, data_set: str, places: Places) -> Items:
    table = read_table(TableSource.model_validate(_part(source, part, data_set)), places, ["_id"])
    column = next((c for c in _INPUTS if c in table.rows.column_names), _INPUTS[0])
    return Items.model_validate({**_part(source, part, data_set), "id": "_id", "input": column})


def _bm25(source: EvalSet, data_set: str, one: RetrievalData, places: Places) -> dict[str, Sequence[str]]:
    where = TableSource.model_validate(_part(source, "bm25", data_set))
    table = read_table(where, places, ["query-id", "corpus-ids"])
    rows = zip(table.values("query-id"), table.values("corpus-ids"), strict=True)
    found = {str(query): [str(d) for d in documents] for query, documents in rows}
    known = set(one.corpus.ids)
    for query in one.queries.ids:
        unknown = [d for d in found.get(query, []) if d not in known]
        if query not in found or unknown:
            raise InvalidData(
                "UnknownId",
                f"{table.where} must have documents of the corpus for query {query!r}, found"
                f" {listed(unknown)}",
                "add what is missing",
            )
    return {query: found[query] for query in one.queries.ids}


def _joined(parts: Sequence[tuple[str, Collection]]) -> Collection:
    return Collection(
        tuple(f"{name}/{i}" for name, items in parts for i in items.ids),
        joined([items.inputs for _, items in parts if isinstance(items.inputs, Cells)]),
        tuple(key for _, items in parts for key in items.keys),
    )
