"""The front matter of a model card: what model hubs read, search by, and show beside a model. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from finetune_api.uris import HfUri, parse_uri

Json = dict[str, Any]
_OWN = "embedding-finetune-operator"
_TAGS = {
    "Embedding": ("sentence-similarity", "feature-extraction"),
    "Reranker": ("cross-encoder", "reranker"),
    "Sparse": ("sparse-encoder", "sparse"),
    "MultiVector": ("multi-vector", "late-interaction"),
}
_PIPELINES = {
    "Embedding": "sentence-similarity",
    "Reranker": "text-ranking",
    "Sparse": "feature-extraction",
    "MultiVector": "feature-extraction",
}


def front_matter(full: Json) -> str:
    """Between its two lines of dashes. Every value is JSON, which YAML is able to read."""
    kind = full["spec"]["model"].get("type", "Embedding")
    content: Json = {
        "library_name": "sentence-transformers",
        "pipeline_tag": _PIPELINES[kind],
        "tags": ["sentence-transformers", *_TAGS[kind], _OWN],
        **_base_model(full["spec"]["model"]),
        **_datasets(full["spec"]["data"]["train"]),
        "metrics": list(dict.fromkeys(one["metric"] for one in full["evaluators"].values())),
        "model-index": [{"name": full["name"], "results": list(_results(full))}],
    }
    lines = [f"{name}: {_value(value)}" for name, value in content.items()]
    return "\n".join(["---", *lines, "---"])


def _value(value: Any) -> str:
    """A word as it is, anything else as JSON."""
    return value if isinstance(value, str) and re.fullmatch(r"[a-z][a-z-]*", value) else json.dumps(value)


def _base_model(model: Mapping[str, Any]) -> Json:
    """Repositories of a hub; other places say nothing to anybody else."""
    uris = [model["uri"]] if "uri" in model else [e["uri"] for e in model["encoders"]]
    named = _repositories(uris)
    if not named:
        return {}
    is_adapter = (model.get("lora") or {}).get("publish") == "Adapter"
    return {"base_model": named, "base_model_relation": "adapter" if is_adapter else "finetune"}


def _datasets(train: list[Json]) -> Json:
    named = _repositories([one["uri"] for one in train])
    return {"datasets": named} if named else {}


def _repositories(uris: list[str]) -> list[str]:
    parsed = (parse_uri(uri) for uri in uris)
    return list(dict.fromkeys(uri.repository for uri in parsed if isinstance(uri, HfUri)))


def _results(full: Json) -> Iterator[Json]:
    """The deciding metric of every evaluator, as hubs list results."""
    for name, one in full["evaluators"].items():
        metric = one["metric"]
        key = "" if one["dimension"] is None else str(one["dimension"])
        value = one["dimensions"][key][metric]["tuned"]
        if value is not None:
            yield {
                "task": {"type": _task(one["type"]), "name": one["type"]},
                "dataset": {"type": "unknown", "name": one["data"]["name"]},
                "metrics": [{"type": metric, "value": round(value, 4), "name": f"{name} {metric}"}],
            }


def _task(evaluator_type: str) -> str:
    """InformationRetrieval -> information-retrieval."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", evaluator_type).lower()
