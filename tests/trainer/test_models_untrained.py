"""What of a model is new before it is trained."""

from pathlib import Path
from typing import Any

import pytest

from finetune_api.model import Model
from finetune_trainer.models import ONLY, has_new_head, has_new_layers

TOKENS = {"type": "LogitScore", "trueToken": "yes", "falseToken": "no"}


@pytest.mark.parametrize(
    ("spec", "head", "layers"),
    [
        ({"type": "Embedding"}, False, False),
        ({"type": "Embedding", "dense": 16}, False, True),
        ({"type": "MultiVector"}, False, True),
        ({"type": "Sparse"}, False, True),
        ({"type": "Reranker"}, True, False),
        ({"type": "Reranker", "head": {"type": "Dense"}}, True, False),
        ({"type": "Reranker", "head": TOKENS}, False, False),
    ],
)
def test_a_text_encoder_gets_what_its_type_lacks(
    text_model: Path, spec: dict[str, Any], head: bool, layers: bool
) -> None:
    model = Model.model_validate({"uri": "pvc://models/base", **spec})
    folders = {ONLY: text_model}
    assert (has_new_head(folders, model), has_new_layers(folders, model)) == (head, layers)
