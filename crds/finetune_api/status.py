"""`status`: what the operator answers. Machines read conditions and the numbers; `phase` is for people."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from typing_extensions import override

from finetune_api.fields import ApiModel

Phase = Literal[
    "Suspended", "Pending", "Starting", "Preparing", "Baseline", "Training", "Evaluating", "Publishing",
    "Ready", "GateFailed", "Failed",
]  # fmt: skip
"""Suspended: by `spec.suspend`. Pending: waits for something (see the condition). Starting: the pod comes up.
Preparing to Publishing: the trainer's stages. Ready: done. GateFailed: measured, not good enough. Failed: see
`failure`."""

RUNNING_PHASES: tuple[Phase, ...] = ("Preparing", "Baseline", "Training", "Evaluating", "Publishing")
"""Phases that the trainer itself reports, in their order."""

Text = Annotated[str, StringConstraints(max_length=256)]
Message = Annotated[str, StringConstraints(max_length=1024)]
Time = Annotated[str, StringConstraints(max_length=32)]
ArtifactUri = Annotated[str, StringConstraints(max_length=384)]
Value = Annotated[str, StringConstraints(max_length=24)]
Count = Annotated[int, Field(ge=0)]


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


class PrimaryResult(ApiModel):
    """The headline: the primary metric before and after, with the interval of the gain."""

    name: Text
    """`<evaluator>_<similarity>_<metric>`; without a similarity where none decides, as in a reranker."""
    dimension: Annotated[int, Field(ge=1)] | None = None
    """Embedding dimensions that were measured; absent for models whose output has no dimension to choose."""
    queries: Count | None = None
    """Queries that were measured; absent where `rows` were."""
    rows: Count | None = None
    """Rows (pairs, triplets, texts) that were measured; absent where `queries` were."""
    clusters: Count
    """Groups that share nothing: queries by their relevant documents, rows by their content. The interval
    draws these, not single queries or rows."""
    compared_to: Literal["Base", "Published", "None"]
    """What the gain is a gain over; None also where the base model cannot score before it is trained."""
    base: Value | None = None
    """Value of the base model, where the comparison is with the published one."""
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
    wins: Count | None = None
    """Queries or rows that the tuned model answers better; absent for metrics that no single one has."""
    ties: Count | None = None
    """Queries or rows that both answer equally well."""
    losses: Count | None = None
    """Queries or rows that the tuned model answers worse."""


class Metric(ApiModel):
    """One metric before and after."""

    name: Text
    """`<evaluator>_<similarity>_<metric>`, behind it `_dim<n>` for dimensions other than the headline's, and
    `[<group>]` for a group of the eval set."""
    baseline: Value | None = None
    """Value of the model that is compared with."""
    tuned: Value
    """Value of the tuned model."""
    gain_low: Value | None = None
    """Lower end of the gain's 95 % interval."""
    gain_high: Value | None = None
    """Upper end of the gain's 95 % interval."""


class GateResult(ApiModel):
    """What one gate said."""

    evaluator: Text
    """Evaluator of the gate."""
    metric: Text
    """Metric of the gate."""
    group: Text | None = None
    """Group of the eval set that the gate reads."""
    passed: bool
    """Whether it holds."""
    message: Annotated[str, StringConstraints(max_length=160)]
    """What was found and what was wanted."""


class GateData(ApiModel):
    """The data that gates read, and how often it has decided: each look makes the next one less honest."""

    digest: Text
    """Digest of the data's content."""
    decisions: Annotated[int, Field(ge=1)]
    """Runs of this finetune that were judged on this data, this one included."""


class Measured(ApiModel):
    """What a run measured."""

    primary: PrimaryResult
    metrics: Annotated[list[Metric], Field(max_length=64)] = []
    """Further metrics and dimensions; the full report has all."""
    gates: Annotated[list[GateResult], Field(max_length=16)] = []
    """What each gate said."""


class Evaluation(Measured):
    """What was measured last, with the operator's count of earlier decisions."""

    run: Annotated[int, Field(ge=1)] | None = None
    """Run that was measured; an earlier one until the present run has numbers."""
    gate_data: GateData | None = None


class Artifact(ApiModel):
    """The published model."""

    uri: ArtifactUri
    """The immutable version."""
    digest: Text
    """Of weights and configuration, without the README."""
    run: Annotated[int, Field(ge=1)]
    """Number of the run that made it."""
    report: ArtifactUri
    """The full report beside the model."""


class Lineage(ApiModel):
    """What the result came from."""

    model: Text
    """Commit or digest of the base model."""
    train_data: Text
    """Digest of the train set's content."""
    eval_data: Text
    """Digest of the content that the gates read (of the primary evaluator's, without gates)."""
    image: Text | None = None
    """Trainer image, as the Job asked for it."""
    seed: int
    """Seed of everything random."""
    mini_batch_size: Annotated[int, Field(ge=1)]
    """Rows encoded at a time in training."""
    losses: Text | None = None
    """Loss of each train set; "by default" where the spec names none."""
    versions: Annotated[dict[str, Value], Field(max_length=16)] = {}
    """Versions of the libraries that decide the result."""


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


class Failure(ApiModel):
    """Why a run failed, and who can help."""

    reason: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{1,62}$", max_length=63)]
    """One stable word."""
    message: Message
    """What was found and what was wanted."""
    hint: Annotated[str, StringConstraints(max_length=512)] = ""
    """The next step."""
    retryable: bool
    """False: the spec or the data must change first."""


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
