"""What a run found out: numbers, gates, the published model, what it came from, or why it failed.

The trainer's Report brings it, and status keeps it.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from finetune_api.fields import ApiModel, ArtifactUri, Count, Message, Text, Value


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
