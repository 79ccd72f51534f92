"""Whatever stands in a spec, the operator has a plan for it and no part of it becomes a command."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings

from tests.faults.random_specs import specs
from tests.plan import world

DRAWN = [HealthCheck.too_slow, HealthCheck.data_too_large]
MANY = settings(max_examples=150, suppress_health_check=DRAWN)


@MANY
@given(specs(world.SPEC))
def test_every_spec_is_told_why_not_or_becomes_a_job(spec: dict[str, Any]) -> None:
    finetune = world.a_finetune(spec)
    decision = world.decide(world.a_look(finetune))
    json.dumps([*decision.create, decision.status])
    _check_told(decision.status)
    if not decision.create:
        return
    (*_, job) = decision.create
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["finetune-trainer", "pod"]
    assert "args" not in container
    _check_end({**finetune, "status": decision.status}, job)


def _check_told(status: dict[str, Any]) -> None:
    """Some condition says what is the matter."""
    told = [world.said(status, type_) for type_ in ("Ready", "Stalled", "Suspended", "Reconciling")]
    assert any(said and said[0] == "True" and said[1] and said[2] for said in told), status


def _check_end(begun: dict[str, Any], job: dict[str, Any]) -> None:
    """Its Report ends it; or runs it again, where the gates read what was not measured."""
    made = {**job, "metadata": {**job["metadata"], "uid": "uid-of-vdr-1", "creationTimestamp": world.time(0)}}
    pods = (world.a_finished_pod(message=json.dumps(world.a_report())),)
    config = world.a_config()
    status = world.decide(world.a_look(begun, job=world.complete(made), config=config, pods=pods)).status
    _check_told(status)
    assert status["phase"] in {"Ready", "GateFailed"} or status["run"]["number"] == 2, status


def test_specs_are_of_both_kinds() -> None:
    """Or the test above would say little."""
    seen = {"made": 0, "told": 0}

    @settings(max_examples=60, suppress_health_check=DRAWN)
    @given(specs(world.SPEC))
    def count(spec: dict[str, Any]) -> None:
        seen["made" if world.decide(world.a_look(world.a_finetune(spec))).create else "told"] += 1

    count()
    assert seen["made"] >= 10
    assert seen["told"] >= 10
