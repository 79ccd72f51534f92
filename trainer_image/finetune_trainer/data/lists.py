"""Lists of documents for rerankers that learn from a whole ranking.

A row may be a query and a list of documents, or have its documents in columns: the positive, then negatives.
"""

from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers.cross_encoder.data_collator import CrossEncoderDataCollator
from typing_extensions import override


@dataclass
class ListCollator(CrossEncoderDataCollator):
    """Puts a row's documents into one list. listed: names of the sets that have them in columns; "" when
    there is one set. Without a label, the first document is right and the others are wrong.
    """

    listed: frozenset[str] = frozenset()

    @override
    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().__call__(features)
        if batch.get("dataset_name", "") not in self.listed:
            return batch
        aside = {"dataset_name", "label", "prompt", "task"}
        query, *documents = [name for name in batch if name not in aside]
        rows = [list(row) for row in zip(*(batch[name] for name in documents), strict=True)]
        right_first = torch.tensor([1.0, *[0.0] * (len(documents) - 1)])
        rest = {name: batch[name] for name in aside & set(batch)}
        return {
            **rest,
            query: batch[query],
            "documents": rows,
            "label": batch.get("label") or [right_first] * len(rows),
        }
