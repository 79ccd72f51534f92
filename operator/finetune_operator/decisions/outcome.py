"""From the Report that a run left to the status it ends with."""

from finetune_api.report import Report
from finetune_api.results import (
    Artifact,
    Evaluation,
    Failure,
    GateData,
    GateResult,
    Lineage,
    Measured,
    Metric,
    PrimaryResult,
)
from finetune_api.spec import FinetuneSpec
from finetune_api.status import Condition, FinetuneStatus, Run
from finetune_operator.decisions import conditions, gates
from finetune_operator.decisions.conditions import Verdict
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import failed, with_verdicts

FEWEST_CLUSTERS = 100
"""Below this the interval of the gain is too optimistic to be relied on."""

GATE_NOT_PASSED = "GateNotPassed"


def conclude(situation: Situation, report: Report, run: Run) -> FinetuneStatus:
    """The status that this Report ends the run with; `run` is the present one, over."""
    if report.outcome == "Failed":
        status = failed(situation, report.failure or _unexplained(run.job), run)
        status = status.model_copy(update={"conditions": _also_judged(situation, status, report)})
    elif report.outcome == "Succeeded":
        status = _succeeded(situation, report)
    else:
        status = _gate_failed(situation, report)
    return status.model_copy(
        update={
            "observed_generation": situation.generation,
            "run": run,
            "evaluation": _evaluation(situation, report),
            "lineage": report.lineage or situation.status.lineage,
            "artifact": report.artifact or situation.status.artifact,
        }
    )


def decided_again(report: Report, spec: FinetuneSpec) -> Report | None:
    """The Report under the gates of this spec, from its own numbers; None when one of them is not there."""
    if report.measured is None:
        return None
    numbers = {m.name: m for m in [_headline(report.measured.primary), *report.measured.metrics]}
    results: list[GateResult] = []
    for gate in spec.evaluation.gates:
        name = spec.evaluation.metric_name(gate, spec.model.similarity_name, group=gate.group)
        measured = numbers.get(name)
        if measured is None:
            return None
        results.append(gates.decide(gate, spec.evaluation.metric(gate), measured))
    return report.model_copy(
        update={
            "measured": report.measured.model_copy(update={"gates": results}),
            "outcome": "Succeeded" if all(r.passed for r in results) else "GateFailed",
        }
    )


def stored_report(situation: Situation) -> Report | None:
    """The Report that the stored status came from; None when the run left no numbers."""
    status, run = situation.status, situation.run
    if status.evaluation is None or status.evaluation.run != run.number or status.failure is not None:
        return None
    evaluation, artifact = status.evaluation, status.artifact
    judged = conditions.find(status.conditions, "GatePassed")
    return Report(
        uid=situation.uid,
        run=run.number,
        outcome="GateFailed" if judged is not None and judged.status == "False" else "Succeeded",
        measured=Measured(primary=evaluation.primary, metrics=evaluation.metrics, gates=evaluation.gates),
        artifact=artifact if artifact and artifact.run == run.number else None,
        lineage=status.lineage,
    )


def _evaluation(situation: Situation, report: Report) -> Evaluation | None:
    measured, before = report.measured, situation.status.evaluation
    if measured is None:
        return before
    return Evaluation(
        primary=measured.primary,
        metrics=measured.metrics,
        gates=measured.gates,
        run=situation.run.number,
        gate_data=_gate_data(before, report.lineage, situation.run.number),
    )


def _gate_data(before: Evaluation | None, lineage: Lineage | None, run: int) -> GateData | None:
    """How often this data has decided, this run included; looking again at one run's numbers counts once."""
    earlier = before.gate_data if before else None
    if lineage is None or (before is not None and before.run == run):
        return earlier
    again = earlier is not None and earlier.digest == lineage.eval_data
    return GateData(digest=lineage.eval_data, decisions=earlier.decisions + 1 if earlier and again else 1)


def _succeeded(situation: Situation, report: Report) -> FinetuneStatus:
    number = situation.run.number
    if report.artifact is not None:
        reason, what = "Published", f"Run {number} published {report.artifact.uri}."
        published = Verdict("Published", "True", "Published", what)
    else:
        reason, what = "Measured", f"Run {number} measured the model; spec.output asks for no publishing."
        published = Verdict("Published", "False", "NoOutput", "spec.output is absent: nothing is published.")
    text = f"{what}{_numbers(report.measured)}"
    found = conditions.ready(situation.status.conditions, reason, text, situation.stamp)
    found = with_verdicts(found, (_gates_hold(report.measured), published), situation)
    return situation.status.model_copy(update={"phase": "Ready", "failure": None, "conditions": found})


def _gate_failed(situation: Situation, report: Report) -> FinetuneStatus:
    number = situation.run.number
    text = (
        f"Run {number} did not pass its gates: {_failed_gates(report.measured)}.{_low_power(report.measured)}"
    )
    fate = _fate(report.artifact, situation.status.artifact, number)
    hint = "You: change the spec, the data or the gates."
    verdicts = (
        Verdict("GatePassed", "False", GATE_NOT_PASSED, text),
        _published_although(report.artifact, fate),
    )
    found = conditions.stalled(
        situation.status.conditions, GATE_NOT_PASSED, f"{text} {fate} {hint}", situation.stamp
    )
    found = with_verdicts(found, verdicts, situation)
    return situation.status.model_copy(update={"phase": "GateFailed", "failure": None, "conditions": found})


def _also_judged(situation: Situation, status: FinetuneStatus, report: Report) -> list[Condition]:
    """A run may fail after its gates have held, while it publishes."""
    if report.measured is None or not all(g.passed for g in report.measured.gates):
        return status.conditions
    return with_verdicts(status.conditions, (_gates_hold(report.measured),), situation)


def _fate(own: Artifact | None, artifact: Artifact | None, number: int) -> str:
    """What became of the model, and what is published now."""
    if own is not None:
        return f"Its model was published before the gates changed and stays at {own.uri}."
    if artifact is not None:
        return f"Nothing was published: the model of run {artifact.run} stays at {artifact.uri}."
    return f"Nothing was published by run {number}."


def _published_although(own: Artifact | None, fate: str) -> Verdict:
    if own is not None:
        return Verdict("Published", "True", "Published", fate)
    return Verdict("Published", "False", GATE_NOT_PASSED, fate)


def _gates_hold(measured: Measured | None) -> Verdict:
    results = measured.gates if measured else []
    if not results:
        return Verdict(
            "GatePassed", "True", "NoGates", "spec.evaluation.gates is empty: every result passes."
        )
    told = "; ".join(_told(r) for r in results)
    return Verdict("GatePassed", "True", "GatesHold", f"All gates hold: {told}.{_low_power(measured)}")


def _failed_gates(measured: Measured | None) -> str:
    results = measured.gates if measured else []
    failed = [r for r in results if not r.passed]
    return "; ".join(_told(r) for r in failed) or "the run's full report says which"


def _told(result: GateResult) -> str:
    found = result.message.rstrip(".")
    group = f" of group {result.group!r}" if result.group else ""
    return f"{result.evaluator} {result.metric}{group}{': ' if found else ''}{found}"


def _low_power(measured: Measured | None) -> str:
    """A word of caution where few independent queries decide."""
    if measured is None or measured.primary.clusters >= FEWEST_CLUSTERS or measured.primary.gain_low is None:
        return ""
    clusters = measured.primary.clusters
    units = "queries" if measured.primary.queries is not None else "rows"
    return f" LowPower: {clusters} groups of {units}, where a sure interval needs {FEWEST_CLUSTERS}."


def _numbers(measured: Measured | None) -> str:
    if measured is None:
        return ""
    primary = measured.primary
    if primary.baseline is None:
        return f" {primary.name} is {primary.tuned}."
    interval = f", 95 % interval {primary.gain_low} to {primary.gain_high}" if primary.gain_low else ""
    return f" {primary.name} went from {primary.baseline} to {primary.tuned} (gain {primary.gain}{interval})."


def _headline(primary: PrimaryResult) -> Metric:
    return Metric(
        name=primary.name, baseline=primary.baseline, tuned=primary.tuned,
        gain_low=primary.gain_low, gain_high=primary.gain_high,
    )  # fmt: skip


def _unexplained(job: str) -> Failure:
    message = f"The Report of Job {job} says that it failed, but not why."
    return Failure(reason="InternalError", message=message, hint="See the log of its pod.", retryable=True)
