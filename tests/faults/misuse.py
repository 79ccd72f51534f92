"""Specs that nobody would write, on the real API server: whatever it accepts is brought to an end."""

import copy
from collections import Counter
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from tests.api.specs import a_finetune, a_spec
from tests.cluster.client import ApiError
from tests.faults import plays
from tests.faults.laboratory import Experiment, Laboratory, Lives
from tests.faults.lanes import Lane
from tests.faults.random_specs import specs
from tests.operator.conftest import IMAGE, Finetunes

EXAMPLES = 200
FEWEST_ACCEPTED = 24
# What is missing is missing for ever here.
PENDING_SECONDS = 10
REFUSED = {400, 413, 422}


@cache
def drawn() -> tuple[dict[str, Any], ...]:
    """The specs. Not while other threads run: nothing else may use chance then."""
    found: list[dict[str, Any]] = []

    @settings(max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(specs(_base()))
    def keep(spec: dict[str, Any]) -> None:
        found.append(_playable(spec))

    keep()
    return tuple(found)


def _base() -> dict[str, Any]:
    """One that succeeds in a namespace without claims."""
    spec = a_spec({f"data.{part}.0.uri": "https://example.com/pairs.csv" for part in ("train", "eval")})
    spec["data"]["eval"] = spec["data"]["eval"][:1]
    evaluators = [{"name": "dev", "data": "dev"}]
    gates = [{"evaluator": "dev", "minimum": "0.5"}]
    spec["evaluation"] = {"evaluators": evaluators, "primary": {"evaluator": "dev"}, "gates": gates}
    spec["runtime"] = {"gpusPerNode": 0, "image": IMAGE}
    spec["training"] = {}
    del spec["output"]
    return spec


def gets_random_specs(lane: Lane) -> None:
    """All at a time, each in a finetune of its own."""
    finetunes, seen = lane.finetunes, Counter[str]()
    names = _apply_all(finetunes, seen)
    finetunes.await_that(
        lambda: all(_end_of(finetunes, name) for name in names),
        "the end of each",
        seconds=plays.PATIENCE_SECONDS,
    )
    seen.update(_end_of(finetunes, name) for name in names)
    lane.notes.append(", ".join(f"{count} {what}" for what, count in seen.most_common()))


def _apply_all(finetunes: Finetunes, seen: Counter[str]) -> list[str]:
    """Names of those that the API server has accepted."""
    names: list[str] = []
    for spec in drawn():
        name = f"random-{len(names)}"
        try:
            finetunes.client.create(finetunes.path, a_finetune(spec, name))
        except ApiError as error:
            if error.status not in REFUSED:
                raise
            seen["refused by the API server"] += 1
        else:
            names.append(name)
    assert len(names) >= FEWEST_ACCEPTED, f"only {len(names)} of {EXAMPLES} specs were accepted"
    return names


def _playable(spec: dict[str, Any]) -> dict[str, Any]:
    """With what makes the trainer of tests end, and waiting as short as it can be."""
    spec = copy.deepcopy(spec)
    for part, values in (
        ("limits", {"pendingSeconds": PENDING_SECONDS}),
        ("runtime", {"terminationGracePeriodSeconds": 2}),
    ):
        if isinstance(spec.get(part, {}), dict):
            spec[part] = {**spec.get(part, {}), **values}
    training = spec.get("training")
    if isinstance(training, dict):
        training["args"] = {**(training.get("args") or {}), "play": "succeed"}
    return spec


def _end_of(finetunes: Finetunes, name: str) -> str:
    """How it ended, empty while it goes on."""
    found = finetunes.get(name)
    if found["status"].get("observedGeneration") != found["metadata"]["generation"]:
        return ""
    for condition in found["status"].get("conditions", []):
        if condition["status"] == "True" and condition["type"] in {"Ready", "Stalled", "Suspended"}:
            assert condition["message"], found["status"]
            return f"{condition['type']}({condition['reason']})"
    return ""


def _random(lab: Laboratory) -> Lives:
    return [(None, lab.live(gets_random_specs).result())]


MISUSE = (Experiment(f"{EXAMPLES} random specs", _random, prepare=drawn),)
