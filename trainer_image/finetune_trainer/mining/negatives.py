"""Hard negatives for sets of queries and positives: mined once with the base model, kept as ids.

Contents are told apart by their content keys alone, so that texts, images and everything else go one way and
nothing is decoded but for encoding. What was mined is kept in the cache under a digest of all that it
depends on: an attempt that begins anew, or a later run with another loss, does not search again.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune_api.hard_negatives import HardNegatives
from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import EvaluationData, RetrievalData, TrainingData, TrainingSet
from finetune_trainer.digests import content_digest
from finetune_trainer.durable import write_file
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.mining.helpers import Helpers, encode_blocks, open_helpers, rerank
from finetune_trainer.mining.pool import (
    INPUT,
    Pool,
    can_be_mined,
    distinct,
    keys_of,
    names_of_negatives,
    pool_of,
)
from finetune_trainer.mining.search import Exclusions, Pairs, choose, depth_of, find_candidates, rescored
from finetune_trainer.places import Places
from finetune_trainer.reporting.recipes import without_secrets
from finetune_trainer.storage import storage_errors

if TYPE_CHECKING:
    import datasets

MOST_LOST = 0.05
"""Share of the rows that may be left out for want of negatives."""

Heartbeat = Callable[[int, int], None]


def mine_negatives(
    model: Any,
    spec: FinetuneSpec,
    training: TrainingData,
    evaluation: Sequence[EvaluationData],
    places: Places,
    *,
    revision: str,
    heartbeat: Heartbeat,
) -> tuple[TrainingData, list[str]]:
    """The sets with `perQuery` more columns of negatives, and a note for each set that was mined.

    model, revision: the base model. Sets with labels or without queries are left as they are.
    Raises InvalidSpec when no set can be mined, InvalidData when too many rows find too few negatives.
    """
    settings = spec.data.hard_negatives
    if settings is None:
        return training, []
    if not any(map(can_be_mined, training.sets)):
        raise InvalidSpec(
            "NothingToMine",
            "`data.hardNegatives` needs a train set with `query` and `positive` and without `label`",
            "leave out `hardNegatives`, or name such columns",
        )
    helpers = open_helpers(model, spec, settings, places, revision=revision)
    barred = _answers_of_evaluation(evaluation)
    sets, notes = [], []
    for one in training.sets:
        if not can_be_mined(one):
            sets.append(one)
            continue
        pool = pool_of(one, settings, places)
        mined = _Mining(one, pool, barred, spec, settings, helpers, heartbeat).cached(places)
        extended, note = _extended(one, pool, mined, settings.per_query)
        sets.append(extended)
        notes.append(note)
    return TrainingData(tuple(sets)), notes


def count_documents(spec: FinetuneSpec, training: TrainingData, places: Places) -> dict[str, int]:
    """Documents to search in, for each set that will be mined. Raises InvalidData where they are too few."""
    settings = spec.data.hard_negatives
    if settings is None:
        return {}
    sets = [one for one in training.sets if can_be_mined(one)]
    counts = {one.name: len(pool_of(one, settings, places).keys) for one in sets}
    for one in sets:
        if counts[one.name] <= settings.skip_top + settings.per_query:
            raise _too_few(one.name, len(one.rows), len(one.rows), settings.per_query, counts[one.name])
    return counts


def _answers_of_evaluation(evaluation: Sequence[EvaluationData]) -> frozenset[str]:
    """Content keys of every document that answers a query of an eval set."""
    answers = set()
    for data in evaluation:
        if isinstance(data, RetrievalData):
            relevant = frozenset().union(*data.relevant.values())
            documents = zip(data.corpus.ids, data.corpus.keys, strict=True)
            answers |= {key for document, key in documents if document in relevant}
    return frozenset(answers)


@dataclass(frozen=True)
class _Mining:
    """The search for one set. barred: content keys of documents that are no negative of any query."""

    set: TrainingSet
    pool: Pool
    barred: frozenset[str]
    spec: FinetuneSpec
    settings: HardNegatives
    helpers: Helpers
    heartbeat: Heartbeat

    def cached(self, places: Places) -> Mapping[str, list[str]]:
        """Content key of each query -> content keys of its negatives."""
        file = places.cache / "negatives" / f"{self._digest().removeprefix('sha256:')}.json"
        with storage_errors("keeping the mined negatives"):
            if (kept := _read_kept(file)) is not None:
                return kept
            mined = self._mine()
            file.parent.mkdir(parents=True, exist_ok=True)
            # Runs that share the cache may mine the same at one time.
            aside = file.with_suffix(f".{uuid.uuid4().hex}.unfinished")
            write_file(file, json.dumps(mined).encode(), aside=aside)
        return mined

    def _digest(self) -> str:
        """Of all that the result depends on."""
        settings = json.dumps(without_secrets(self.settings.to_dict()), sort_keys=True)
        parts: list[str | bytes] = [self.helpers.identity, settings, str(self.spec.training.seed)]
        parts += [self.set.content_keys.tobytes(), *self.pool.keys, "barred", *sorted(self.barred)]
        return content_digest(parts)

    def _mine(self) -> dict[str, list[str]]:
        keys, queries = distinct(self.set.rows.select_columns(["query"]), keys_of(self.set, 0))
        total = len(keys) + len(self.pool.keys)
        asked = [b for _, b in self._encoded(queries, 0, total, self.helpers.encode_query)]
        documents = self._encoded(self.pool.inputs, len(keys), total, self.helpers.encode_document)
        found = find_candidates(
            asked,
            documents,
            self.helpers.similarity,
            without=self._exclusions(keys),
            depth=depth_of(self.settings),
        )
        if self.helpers.cross_encoder is not None:
            score = rerank(self.helpers.cross_encoder, queries, self.pool.inputs, self.heartbeat)
            found = rescored(found, score)
        chosen = choose(found, self.settings, seed=self.spec.training.seed)
        return {key: [self.pool.keys[d] for d in row] for key, row in zip(keys, chosen, strict=True)}

    def _encoded(
        self, inputs: "datasets.Dataset", before: int, total: int, encode: Callable[[list[Any]], Any]
    ) -> Iterator[tuple[int, Any]]:
        for start, block in encode_blocks(inputs, encode):
            self.heartbeat(before + start, total)
            yield start, block

    def _exclusions(self, queries: Sequence[str]) -> Exclusions:
        query_of = {key: n for n, key in enumerate(queries)}
        document_of = {key: n for n, key in enumerate(self.pool.keys)}
        asked = [query_of[key] for key in keys_of(self.set, 0)]

        def pairs(columns: Sequence[int]) -> Pairs:
            rows = ((q, k) for c in columns for q, k in zip(asked, keys_of(self.set, c), strict=True))
            return Pairs.of((q, document_of[k]) for q, k in rows if k in document_of)

        barred = sorted(document_of[key] for key in self.barred if key in document_of)
        known = pairs(range(2, len(self.set.input_columns)))
        return Exclusions(pairs([1]), known, np.array(barred, dtype=np.int64))


def _read_kept(file: Path) -> dict[str, list[str]] | None:
    """What an earlier run has mined; None without, or when a broken disk has left something else."""
    try:
        kept: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return kept


def _extended(
    one: TrainingSet, pool: Pool, mined: Mapping[str, list[str]], count: int
) -> tuple[TrainingSet, str]:
    """The set with columns of negatives, without the rows that have found too few, and what to say of it."""
    import datasets

    queries = keys_of(one, 0)
    kept = [row for row, key in enumerate(queries) if len(mined[key]) == count]
    lost = len(queries) - len(kept)
    if lost > MOST_LOST * len(queries):
        raise _too_few(one.name, lost, len(queries), count, len(pool.keys))
    document_of = {key: n for n, key in enumerate(pool.keys)}
    chosen = [[document_of[d] for d in mined[queries[row]]] for row in kept]
    columns = [
        pool.inputs.select([row[n] for row in chosen]).rename_column(INPUT, name)
        for n, name in enumerate(names_of_negatives(one, count))
    ]
    keys = np.array([mined[queries[row]] for row in kept], dtype="S32").reshape(-1, count)
    rows = one.rows.select(kept) if lost else one.rows
    extended = replace(
        one,
        rows=datasets.concatenate_datasets([rows, *columns], axis=1),
        content_keys=np.hstack([one.content_keys[kept], keys]),
        digest=content_digest([one.digest, keys.tobytes()]),
    )
    text = (
        f"{count} hard negatives for each of {len(kept)} rows of train set {one.name!r} were found among"
        f" {len(pool.keys)} documents"
    )
    return extended, text + (f"; {lost} rows with fewer were left out" if lost else "")


def _too_few(name: str, lost: int, rows: int, count: int, documents: int) -> InvalidData:
    return InvalidData(
        "TooFewNegatives",
        f"{lost} of {rows} rows of train set {name!r} found fewer than {count} negatives among {documents}"
        f" documents; at most {MOST_LOST:.0%} of the rows may be left out",
        "lower `data.hardNegatives.perQuery` or `skipTop`, widen its margins and scores, raise `searchDepth`,"
        " or give a `corpus`",
    )
