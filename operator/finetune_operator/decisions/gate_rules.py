"""Which gates decide: those of the present spec, also when they changed while the run went on or after it."""

from dataclasses import replace

from finetune_api.report import Report
from finetune_api.status import Run
from finetune_operator.decisions.gates import were_decided_here
from finetune_operator.decisions.keeping import gates_of_the_run, has_its_own_gates
from finetune_operator.decisions.outcome import conclude, decided_again
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.steps import Step, begin_next

GATES_CHANGED = "GatesChanged"


def judge_fresh(situation: Situation, report: Report, run: Run) -> Step:
    """The end of a run that has just left this Report."""
    gates = gates_of_the_run(situation)
    changed = gates is not None and gates != situation.spec.evaluation.gates
    if report.outcome == "Failed" or not changed:
        return Step(conclude(situation, report, run))
    return _judge(situation, report, decided_again(report, situation.spec), run)


def judge_stored(situation: Situation, report: Report) -> Step:
    """The end of a run that was over when the spec changed, from the numbers in its status."""
    are_the_same = has_its_own_gates(situation)
    if are_the_same and _is_verdict_of_the_trainer(report):
        return _judge(situation, report, report, situation.run)
    again = decided_again(report, situation.spec) or (report if are_the_same else None)
    return _judge(situation, report, again, situation.run)


def _judge(situation: Situation, report: Report, again: Report | None, run: Run) -> Step:
    """again: the Report under the present gates; None when they read numbers that the run did not leave."""
    if again is None:
        message = (
            f"The gates have changed and read numbers that run {run.number} did not store: it runs again."
        )
    elif again.outcome == "Succeeded" and _lacks_its_model(situation, report):
        message = f"Run {run.number} passes the changed gates, but its model was not kept: it runs again."
    else:
        return Step(conclude(situation, again, run))
    numbers = conclude(situation, report, run)
    step = begin_next(situation, run, GATES_CHANGED, message, numbers)
    kept = {part: getattr(numbers, part) for part in ("evaluation", "lineage", "artifact")}
    return replace(step, status=step.status.model_copy(update=kept))


def _is_verdict_of_the_trainer(report: Report) -> bool:
    results = report.measured.gates if report.measured else []
    return bool(results) and not were_decided_here(results)


def _lacks_its_model(situation: Situation, report: Report) -> bool:
    """Only a run that failed its gates published nothing although it should."""
    is_wanted = situation.spec.output is not None
    return is_wanted and report.outcome == "GateFailed" and report.artifact is None
