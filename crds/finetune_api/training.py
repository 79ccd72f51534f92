"""`spec.training`: how to train."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_api.evaluator_types import MetricName
from finetune_api.fields import ApiModel, Args, Name, PositiveDecimal, PositiveUnitDecimal, UnitDecimal


class Selection(ApiModel):
    """Keep the best checkpoint, judged on data that no gate reads."""

    evaluator: Name
    """Evaluator that judges."""
    metric: MetricName | None = None
    """Metric that judges; higher is better. Absent: ndcg@10 for rankings, else the one that the evaluator's
    type is known for."""
    every: PositiveUnitDecimal = "0.1"
    """How often, as a share of the whole training."""
    patience: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Stop after so many judgements without a better one. Absent: train to the end."""


class Training(ApiModel):
    """How to train."""

    epochs: PositiveDecimal = "1"
    """Passes over the train set; may be a fraction."""
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    """Rows in a step, over all GPUs: each row's documents are the negatives of the others."""
    learning_rate: PositiveUnitDecimal = "2e-5"
    """Highest learning rate."""
    warmup_ratio: UnitDecimal = "0.1"
    """Share of the steps during which the learning rate rises."""
    autocast: Literal["bf16", "None"] = "bf16"
    """Precision of the matrix products; weights stay in float32. The same in both evaluations."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 42
    """Seed of everything random, set before the model is built."""
    args: Args = {}
    """Further arguments of SentenceTransformerTrainingArguments, such as max_steps or lr_scheduler_type."""
    selection: Selection | None = None
    """Best checkpoint and early stopping. Absent: the last state is the result."""
