"""`evaluators[].args` against the arguments that are honoured. Pure; CEL cannot look into free-form fields.

Names, types and defaults are the library's own; a test holds the table against its signatures.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

Check = tuple[Callable[[Any], bool], str]
"""Whether a value will do, and what is wanted in words."""


def _is_whole(value: Any, *, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


_CUT_OFF: Check = (lambda v: _is_whole(v, most=999), "a whole number from 1 to 999")
_CUT_OFFS: Check = (
    lambda v: isinstance(v, list) and 0 < len(v) <= 16 and all(_is_whole(k, most=999) for k in v),
    "a list of whole numbers from 1 to 999",
)
_COUNT: Check = (lambda v: _is_whole(v, most=10**9), "a whole number of at least 1")
_FLAG: Check = (lambda v: isinstance(v, bool), "true or false")
_NUMBER: Check = (_is_number, "a number")
_POSITIVE: Check = (lambda v: _is_number(v) and v > 0, "a number above 0")
_NAMES: Check = (
    lambda v: isinstance(v, list) and 0 < len(v) <= 32 and all(isinstance(n, str) for n in v),
    "a list of names",
)
_TEXT: Check = (lambda v: isinstance(v, str) and len(v) <= 2048, "a text of at most 2048 characters")

_CUTS = {
    f"{m}_at_k": _CUT_OFFS for m in ("accuracy", "precision_recall", "mrr", "ndcg", "map")
}  # metrics for the full report, beside those that are asked for

_TAKEN: dict[str, dict[str, Check]] = {
    "InformationRetrieval": {**_CUTS, "query_prompt": _TEXT, "corpus_prompt": _TEXT},
    "NanoBEIR": {**_CUTS, "dataset_names": _NAMES},
    "Reranking": {"at_k": _CUT_OFF},
    "Triplet": {"margin": _NUMBER},
    "ParaphraseMining": {"top_k": _COUNT, "max_pairs": _COUNT, "add_transitive_closure": _FLAG},
    "Distillation": dict.fromkeys(("temperature", "student_temperature", "teacher_temperature"), _POSITIVE),
}
_TAKEN_BY_RERANKERS: dict[str, dict[str, Check]] = {
    "NanoBEIR": {
        "dataset_names": _NAMES, "rerank_k": _CUT_OFF, "at_k": _CUT_OFF, "always_rerank_positives": _FLAG,
    },
    "Reranking": {"at_k": _CUT_OFF, "always_rerank_positives": _FLAG},
}  # fmt: skip
_TAKEN_BY_SPARSE: dict[str, Check] = {"max_active_dims": _COUNT}

_RECORDS = "the run keeps its records itself"
_SIMILARITY = "`model.similarity` says how inputs are compared"
_CHUNKS = "it is cut into chunks that fit anyway"
_PROMPTS = "`model.prompts` are those of the model"
_REASONS = {
    "name": "it repeats `name`",
    "batch_size": "it repeats `batchSize`",
    "truncate_dim": "it repeats `model.truncateDim`",
    "show_progress_bar": _RECORDS,
    "write_csv": _RECORDS,
    "write_predictions": _RECORDS,
    "print_wrong_matches": _RECORDS,
    "main_score_function": _SIMILARITY,
    "score_functions": _SIMILARITY,
    "similarity_fn_names": _SIMILARITY,
    "similarity_fct": _SIMILARITY,
    "main_similarity": _SIMILARITY,
    "main_similarity_function": _SIMILARITY,
    "corpus_chunk_size": _CHUNKS,
    "query_chunk_size": _CHUNKS,
    "chunk_elements": _CHUNKS,
    "use_batched_encoding": "inputs are always encoded in batches",
    "query_prompt_name": "its text is `query_prompt`",
    "corpus_prompt_name": "its text is `corpus_prompt`",
    "query_prompts": _PROMPTS,
    "corpus_prompts": _PROMPTS,
    "precision": "embeddings are measured as the model gives them",
    "teacher_model": "the embeddings of a teacher are the labels of the eval set",
    "dataset_id": "`data` names the eval set",
    "aggregate_fn": "the result is the mean over data sets",
    "aggregate_key": "the result is the mean over data sets",
    "prompt_name": _PROMPTS,
}


def taken_arguments(type_: str, model_type: str) -> dict[str, Check]:
    """Arguments that an evaluator of this type honours for a model of that type."""
    taken = _TAKEN.get(type_, {})
    if model_type == "Reranker":
        taken = _TAKEN_BY_RERANKERS.get(type_, taken)
    return {**taken, **_TAKEN_BY_SPARSE} if model_type == "Sparse" else taken


def wrong_argument(type_: str, model_type: str, args: Mapping[str, Any]) -> str | None:
    """What is wrong with the first bad argument; None when all are right."""
    taken = taken_arguments(type_, model_type)
    for name, value in args.items():
        if name not in taken:
            return f"`args.{name}` must be left out: {_reason(name, type_, taken)}"
        holds, wanted = taken[name]
        if not holds(value):
            return f"`args.{name}` must be {wanted}, found {value!r:.80}"
    return None


def _reason(name: str, type_: str, taken: Mapping[str, Check]) -> str:
    if name in _REASONS:
        return _REASONS[name]
    close = get_close_matches(name, taken, n=1)
    if close:
        return f"it is no argument of {type_}; did you mean {close[0]!r}?"
    known = f"takes {', '.join(sorted(taken))}" if taken else "takes none"
    return f"it is no argument of {type_} here, which {known}"
