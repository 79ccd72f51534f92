"""`status`: what the operator answers. Machines read conditions and the numbers; `phase` is for people."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from typing_extensions import override

from finetune_api.fields import ApiModel, ArtifactUri, Count, Text, Time, Value
from finetune_api.results import Artifact, Evaluation, Failure, Lineage

Phase = Literal[
    "Suspended", "Pending", "Starting", "Preparing", "Baseline", "Training", "Evaluating", "Publishing",
    "Ready", "GateFailed", "Failed",
]  # fmt: skip
"""Suspended: by `spec.suspend`. Pending: waits for something (see the condition). Starting: the pod comes up.
Preparing to Publishing: the trainer's stages. Ready: done. GateFailed: measured, not good enough. Failed: see
`failure`."""

RUNNING_PHASES: tuple[Phase, ...] = ("Preparing", "Baseline", "Training", "Evaluating", "Publishing")
"""Phases that the trainer itself reports, in their order."""


class Condition(ApiModel):
    """One condition, as the Kubernetes API conventions have it."""

    type: Annotated[str, StringConstraints(max_length=64)]
    """Ready, Reconciling, Stalled, Suspended, GatePassed or Published."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds; Unknown while nobody can tell yet."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """One stable word for why."""
    message: Annotated[str, StringConstraints(max_length=2048)] = ""
    """What was found, what was wanted, and the next step."""
    last_transition_time: Time
    """When `status` last changed."""
    observed_generation: int
    """Generation of the spec that this speaks of."""


class Run(ApiModel):
    """The run that status speaks of."""

    number: Annotated[int, Field(ge=1)]
    """Counts the runs of this finetune."""
    spec_hash: Text
    """Hash of what decides the result; another hash is another run."""
    job: Text
    """Name of the Job."""
    attempt: Count = 0
    """Pods started so far."""
    pod: Text | None = None
    """Name of the newest of them, for `kubectl logs`."""
    pod_time: Time | None = None
    """When it was made: only younger pods are further attempts."""
    pod_ended: bool = False
    """Its end is in the numbers below already."""
    retries: Count = 0
    """Attempts that failed and count against `limits.retries`."""
    interruptions: Count = 0
    """Attempts that ended through no fault of theirs: evicted, pre-empted, suspended, stopped."""
    vain_interruptions: Count = 0
    """Interruptions since the last one that had left a newer checkpoint; five in a row end the run."""
    active_seconds: Count = 0
    """Seconds that its pods have run, as of the last attempt that ended or the last write."""
    pod_seconds: Count = 0
    """Share of the newest pod in it."""
    wasted_seconds: Count = 0
    """Seconds between the last checkpoint (without one, the start) and the end of attempts that did not end
    well."""
    checkpoint_step: Count | None = None
    """Training step of the newest checkpoint: where the next attempt goes on."""
    checkpoint_time: Time | None = None
    """When it was made known."""
    lost_steps: Count = 0
    """Training steps that were done and have to be done again."""
    last_step: Count | None = None
    """Last known step of the attempt before, until the present one says where it went on."""
    report_lost: bool = False
    """A Complete Job had left no Report, so one more attempt was made."""
    job_removed: bool = False
    """The Job was removed, `limits.keepJobSeconds` after the end."""
    gates_hash: Text | None = None
    """Hash of the gates that it was started with, kept when its ConfigMap is removed."""
    start_time: Time | None = None
    """When the Job was made."""
    completion_time: Time | None = None
    """When the run ended, well or badly."""


class Progress(ApiModel):
    """How far training is; written at most every 10 s, `/metrics` of the operator has it live."""

    percent: Annotated[int, Field(ge=0, le=100)]
    """Share of the training steps."""
    step: Count | None = None
    """Training steps done."""
    total_steps: Count | None = None
    """Training steps in all."""
    epoch: Value | None = None
    """Passes over the train set done."""
    loss: Value | None = None
    """Training loss of late."""
    samples_per_second: Value | None = None
    """Rows trained on in a second."""
    remaining_seconds: Count | None = None
    """Estimate for the training, not for what comes after."""


class PastResult(ApiModel):
    """The headline of a past run."""

    name: Text
    """As in `evaluation.primary`, like all that follows."""
    compared_to: Literal["Base", "Published", "None"]
    """What the gain is a gain over."""
    baseline: Value | None = None
    """Value of the model that is compared with."""
    tuned: Value
    """Value of the tuned model."""
    gain: Value | None = None
    """Tuned minus baseline."""
    gain_low: Value | None = None
    """Lower end of the gain's 95 % interval."""
    gain_high: Value | None = None
    """Upper end of the gain's 95 % interval."""


class PastRun(ApiModel):
    """A run that another one has followed."""

    number: Annotated[int, Field(ge=1)]
    """Number of the run."""
    spec_hash: Text
    """Its specHash."""
    outcome: Literal["Published", "Measured", "GateFailed", "Failed", "Superseded"]
    """Measured: passed, with nothing to publish to. Superseded: the spec changed before its end."""
    reason: Annotated[str, StringConstraints(max_length=64)]
    """Why it ended so, in one word."""
    message: Annotated[str, StringConstraints(max_length=256)] = ""
    """The beginning of what was said about it."""
    primary: PastResult | None = None
    """What it measured."""
    artifact: ArtifactUri | None = None
    """The version that it published; `output.keep` decides how long it stays."""
    attempts: Count = 0
    """Pods that it had."""
    active_seconds: Count = 0
    """Seconds that its pods ran."""
    start_time: Time | None = None
    """When its first Job was made."""
    completion_time: Time | None = None
    """When it ended or was stopped."""


class FinetuneStatus(ApiModel):
    """What the operator knows of a finetune."""

    observed_generation: int = -1
    """Generation that this status speaks of; -1 before the operator has seen it."""
    phase: Phase | None = None
    """For people; machines read conditions."""
    run: Run | None = None
    progress: Progress | None = None
    evaluation: Evaluation | None = None
    artifact: Artifact | None = None
    """The published model; that of an earlier run until a newer one passes."""
    lineage: Lineage | None = None
    failure: Failure | None = None
    history: Annotated[list[PastRun], Field(max_length=10)] = []
    """Earlier runs, newest first."""
    conditions: Annotated[
        list[Condition], Field(max_length=8, json_schema_extra={"x-list-map-key": "type"})
    ] = []
    """Ready, Reconciling and Stalled for machines; Suspended, GatePassed and Published for people."""

    @override
    def to_dict(self) -> dict[str, Any]:
        """Without what says nothing: zeros, empty texts and lists."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
