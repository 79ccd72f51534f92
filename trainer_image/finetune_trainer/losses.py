"""The loss, and how many rows it encodes at a time.

CachedMultipleNegativesRankingLoss (GradCache, Gao et al. 2021) encodes a batch in mini-batches without a
graph, takes the loss over the whole batch, and encodes again with a graph: memory follows the mini-batch, the
result does not (but for rounding, and for the masks of dropout). Matryoshka (Kusupati et al. 2022) adds up
the loss at several dimensions.
"""

import math
from typing import TYPE_CHECKING, Any

from finetune_api.spec import FinetuneSpec
from finetune_trainer.checks import checked_loss_arguments
from finetune_trainer.models import check_dimensions

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

_ROWS_ON_CPU = 32
"""More gains nothing where the arithmetic, not the launching of it, takes the time."""
_STATE_BYTES = 16
"""Of a parameter in float32: itself, its gradient, and two moments of Adam."""
_USABLE = 0.8
"""Share of a GPU's memory that is planned with; the rest is the allocator's, the loss's and the driver's."""
_BYTES_PER_UNIT = {"bf16": 64, "None": 112}
"""Activations kept for the backward pass, for each token, layer and hidden unit: attention, two norms and an
MLP four times as wide, in the precision of the matrix products, with margin."""
_LONGEST_TEXT = 512
"""Tokens planned for a text unless the spec says: models that read 32,768 rarely get them."""
_TEMPLATE_TOKENS = 64


def build_loss(model: "SentenceTransformer", spec: FinetuneSpec, mini_batch_size: int) -> "torch.nn.Module":
    """The loss that the spec asks for. Raises InvalidSpec for dimensions that the model does not have."""
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.util import cos_sim, dot_score

    check_dimensions(model, spec)
    arguments: dict[str, Any] = {"mini_batch_size": mini_batch_size, **checked_loss_arguments(spec.loss)}
    if spec.model.similarity_name == "dot":
        # Dot products are as large as the vectors: the scale for cosines would make them larger still.
        arguments = {"scale": 1.0, "similarity_fct": dot_score, **arguments}
    else:
        arguments["similarity_fct"] = cos_sim
    loss = losses.CachedMultipleNegativesRankingLoss(model, **arguments)
    if spec.loss.matryoshka_dims is None:
        return loss
    return losses.MatryoshkaLoss(model, loss, matryoshka_dims=spec.loss.matryoshka_dims)


def choose_mini_batch_size(model: "SentenceTransformer", spec: FinetuneSpec) -> int:
    """Rows to encode at a time: from spec, model and the GPU's total memory, never from what is free now.

    So a retry on a busier GPU of the same kind repeats the run. `loss.args.mini_batch_size` overrides it.
    """
    import torch

    given = spec.loss.args.get("mini_batch_size")
    if given is not None:
        return min(int(given), spec.training.batch_size)
    if model.device.type != "cuda":
        return min(_ROWS_ON_CPU, spec.training.batch_size)
    total = torch.cuda.get_device_properties(model.device).total_memory
    parameters = sum(p.numel() for p in model.parameters())
    return rows_that_fit(
        total - _STATE_BYTES * parameters,
        bytes_per_row=bytes_per_row(model, spec),
        batch_size=spec.training.batch_size,
    )


def rows_that_fit(memory_bytes: float, *, bytes_per_row: float, batch_size: int) -> int:
    """The largest power of two of rows, at least 1 and at most the batch."""
    rows = max(1.0, memory_bytes * _USABLE / bytes_per_row)
    return int(min(2 ** math.floor(math.log2(rows)), batch_size))


def bytes_per_row(model: "SentenceTransformer", spec: FinetuneSpec) -> float:
    """An upper estimate over the model's encoders: tokens x hidden width x layers x bytes."""
    config = getattr(model.transformers_model, "config", None)
    text, vision = getattr(config, "text_config", config), getattr(config, "vision_config", None)
    pixels = _pixels(model)
    patch = getattr(vision, "patch_size", 0) or 1
    patches = pixels / patch**2 if vision is not None else 0
    merged = patches / getattr(vision, "spatial_merge_size", 1) ** 2
    texts = spec.model.max_seq_length or min(model.max_seq_length or _LONGEST_TEXT, _LONGEST_TEXT)
    # A row is a text, or an image with a few tokens of the chat template around it.
    tokens = max(texts, merged + _TEMPLATE_TOKENS) if patches else texts
    units = _units(text, tokens) + _units(vision, patches)
    return _BYTES_PER_UNIT[spec.training.autocast] * max(units, 1)


def _units(config: Any, tokens: float) -> float:
    width = getattr(config, "hidden_size", 0) or 0
    layers = getattr(config, "num_hidden_layers", 0) or getattr(config, "depth", 0) or 0
    return float(tokens * width * layers)


def _pixels(model: "SentenceTransformer") -> float:
    """The most pixels that the processor lets an image have."""
    images = getattr(model.processor, "image_processor", None)
    size = (images.to_dict().get("size") if images is not None else None) or {}
    if {"height", "width"} <= set(size):
        return float(size["height"] * size["width"])
    longest = size.get("longest_edge") or size.get("shortest_edge") or 0
    # Processors of the Qwen family count pixels under this name, others the edge.
    counts_pixels = "max_pixels" in getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    return float(longest if counts_pixels else longest**2)
