"""What a metric is called, which labels it has, and what it says."""

from dataclasses import dataclass
from typing import Literal

PREFIX = "embedding_finetune_"
OF = ("namespace", "embeddingfinetune")


@dataclass(frozen=True)
class Family:
    """One metric; name: in full, as a query has it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
