"""What stays of a run that is over: its Job for `limits.keepJobSeconds`, its numbers for good."""

from pydantic import ValidationError

from finetune_api.evaluation import Gate
from finetune_api.run_file import RUN_FILE, RunFile
from finetune_api.spec_hash import gates_hash
from finetune_operator.decisions.runs import is_settled, next_look
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.steps import Step, leftovers


def leave_what_is_settled(situation: Situation) -> Step | None:
    """Nothing more happens for this generation, but for the removal of its Job in time."""
    finetune, status = situation.observed.finetune, situation.status
    if not is_settled(finetune):
        return None
    if status.run is None or next_look(finetune, situation.now) != 0:
        return Step(status)
    gates = gates_of_the_run(situation)
    run = status.run.model_copy(
        update={"job_removed": True, "gates_hash": gates_hash(gates) if gates is not None else None}
    )
    return Step(status.model_copy(update={"run": run}), delete=leftovers(situation))


def gates_of_the_run(situation: Situation) -> list[Gate] | None:
    """The gates that the run was started with; None when its ConfigMap is gone or unreadable."""
    text = ((situation.observed.config or {}).get("data") or {}).get(RUN_FILE) or ""
    try:
        return RunFile.model_validate_json(text).spec.evaluation.gates
    except ValidationError:
        return None


def has_its_own_gates(situation: Situation) -> bool:
    """Whether the spec has the gates that the run was started with. What nobody can tell any more is no."""
    gates, wanted = gates_of_the_run(situation), situation.spec.evaluation.gates
    return gates == wanted if gates is not None else situation.run.gates_hash == gates_hash(wanted)
