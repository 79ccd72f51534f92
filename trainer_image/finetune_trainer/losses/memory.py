"""How many rows to encode at a time, where a loss lets one say so.

Cached losses (GradCache, Gao et al. 2021) encode a batch in mini-batches without a graph, take the loss over
the whole batch, and encode again with a graph: memory follows the mini-batch, the result does not (but for
rounding, and for the masks of dropout).
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from finetune_api.signatures import loss_parameters
from finetune_api.spec import FinetuneSpec
from finetune_trainer.losses.chosen import ChosenLoss

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel

_ROWS_ON_CPU = 32
"""More gains nothing where the arithmetic, not the launching of it, takes the time."""
_STATES = 4
"""Copies of a parameter that is trained: itself, its gradient, and two moments of Adam."""
_USABLE = 0.8
"""Share of a GPU's memory that is planned with; the rest is the allocator's, the loss's and the driver's."""
_BYTES_PER_UNIT = {"bf16": 64, "None": 112}
"""Activations kept for the backward pass, for each token, layer and hidden unit: attention, two norms and an
MLP four times as wide, in the precision of the matrix products, with margin."""
_BYTES_PER_LOGIT = 16
"""Of a sparse model over a vocabulary: logits, their logarithm and the gradients, in float32."""
_LONGEST_TEXT = 512
"""Tokens planned for a text unless the spec says: models that read 32,768 rarely get them."""
_TEMPLATE_TOKENS = 64


def choose_mini_batch_size(model: "AnyModel", spec: FinetuneSpec, chosen: ChosenLoss) -> int:
    """Rows to encode at a time: from spec, model and the GPU's total memory, never from what is free now.

    So a retry on a busier GPU of the same kind repeats the run. `mini_batch_size` of the loss's arguments
    overrides it; a loss that takes none encodes the whole batch.
    """
    import torch

    batch_size = spec.training.batch_size
    if not takes_mini_batches(spec.model.type, chosen):
        return batch_size
    given = {**chosen.inner_args, **chosen.args}.get("mini_batch_size")
    if given is not None:
        return min(int(given), batch_size)
    if model.device.type != "cuda":
        return min(_ROWS_ON_CPU, batch_size)
    total = torch.cuda.get_device_properties(model.device).total_memory
    return rows_that_fit(
        total - state_bytes(model), bytes_per_row=bytes_per_row(model, spec), batch_size=batch_size
    )


def takes_mini_batches(model_type: str, chosen: ChosenLoss) -> bool:
    names = [n for n in (chosen.name, chosen.inner) if n is not None]
    return any("mini_batch_size" in loss_parameters(model_type, name) for name in names)


def state_bytes(model: "AnyModel") -> int:
    """What the parameters take while they are trained."""
    return sum(p.numel() * p.element_size() * (_STATES if p.requires_grad else 1) for p in model.parameters())


def rows_that_fit(memory_bytes: float, *, bytes_per_row: float, batch_size: int) -> int:
    """The largest power of two of rows, at least 1 and at most the batch."""
    rows = max(1.0, memory_bytes * _USABLE / bytes_per_row)
    return int(min(2 ** math.floor(math.log2(rows)), batch_size))


def bytes_per_row(model: "AnyModel", spec: FinetuneSpec) -> float:
    """An upper estimate: tokens x hidden width x layers x bytes, of the encoder that takes most."""
    return max((_bytes_of(encoder, spec) for encoder in _encoders(model)), default=1)


def _encoders(model: "AnyModel") -> Iterator[Any]:
    """The library's modules around checkpoints: one, or one for each route."""
    return (module for module in model.modules() if type(module).__name__ == "Transformer")


def _bytes_of(encoder: Any, spec: FinetuneSpec) -> float:
    config = getattr(encoder.model, "config", None)
    text, vision = getattr(config, "text_config", config), getattr(config, "vision_config", None)
    patch = getattr(vision, "patch_size", 0) or 1
    patches = _pixels(encoder.processor) / patch**2 if vision is not None else 0
    merged = patches / getattr(vision, "spatial_merge_size", 1) ** 2
    longest = getattr(encoder, "max_seq_length", None) or _LONGEST_TEXT
    texts = spec.model.max_seq_length or min(longest, _LONGEST_TEXT)
    # A row is a text, or an image with a few tokens of the chat template around it.
    tokens = max(texts, merged + _TEMPLATE_TOKENS) if patches else texts
    units = _units(text, tokens) + _units(vision, patches)
    logits = tokens * getattr(text, "vocab_size", 0) if spec.model.type == "Sparse" else 0
    precision = "bf16" if spec.model.weights == "bfloat16" else spec.training.autocast
    return _BYTES_PER_UNIT[precision] * max(units, 1) + _BYTES_PER_LOGIT * logits


def _units(config: Any, tokens: float) -> float:
    width = getattr(config, "hidden_size", 0) or 0
    layers = getattr(config, "num_hidden_layers", 0) or getattr(config, "depth", 0) or 0
    return float(tokens * width * layers)


def _pixels(processor: Any) -> float:
    """The most pixels that the processor lets an image have."""
    images = getattr(processor, "image_processor", None)
    size = (images.to_dict().get("size") if images is not None else None) or {}
    if {"height", "width"} <= set(size):
        return float(size["height"] * size["width"])
    longest = size.get("longest_edge") or size.get("shortest_edge") or 0
    # Processors of the Qwen family count pixels under this name, others the edge.
    counts_pixels = "max_pixels" in getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    return float(longest if counts_pixels else longest**2)
