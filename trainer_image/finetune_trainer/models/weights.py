"""Whether every weight of a model comes from its checkpoint, and from a file that is safe to read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_trainer.errors import InvalidModel
from finetune_trainer.sources.splits import listed

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_NAMED = 3
"""Missing weights that a message names."""


def require_weights(path: Path) -> None:
    if any(path.rglob("*.safetensors")):
        return
    pickles = [p.name for pattern in _PICKLES for p in path.rglob(pattern)]
    if pickles:
        raise InvalidModel(
            "PickleWeights",
            f"the model has its weights only as {listed(pickles)}; such files run code when they are read",
            "convert them to safetensors",
        )
    raise InvalidModel(
        "MissingWeights",
        f"the model must have weights in *.safetensors; found {listed(p.name for p in path.iterdir())}",
        "let `model.uri` name the folder of a complete checkpoint",
    )


@contextmanager
def loading_reports() -> Iterator[list[Any]]:
    """What transformers knows of missing weights while a model is loaded; it only logs it.

    Its `output_loading_info` would change what from_pretrained returns to the library in between.
    """
    import transformers.modeling_utils
    from transformers.utils.logging import disable_progress_bar

    quiet: Any = disable_progress_bar
    quiet()
    reports: list[Any] = []
    modeling_utils: Any = transformers.modeling_utils
    log = modeling_utils.log_state_dict_report

    def record(**arguments: Any) -> None:
        reports.append(arguments["loading_info"])
        log(**arguments)

    modeling_utils.log_state_dict_report = record
    try:
        yield reports
    finally:
        modeling_utils.log_state_dict_report = log


def refuse_missing_weights(model: "nn.Module", reports: list[Any], allowed: list[str]) -> None:
    from transformers import PreTrainedModel

    if not reports and any(isinstance(module, PreTrainedModel) for module in model.modules()):
        raise RuntimeError(
            "transformers has not reported which weights it loaded; its version must be the pinned one"
        )
    missing = sorted(key for report in reports for key in report.missing_keys)
    refused = [key for key in missing if not any(fnmatchcase(key, pattern) for pattern in allowed)]
    if refused:
        more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise InvalidModel(
            "MissingWeights",
            f"the checkpoint lacks {len(refused)} of the model's weights, which would be random:"
            f" {', '.join(refused[:_NAMED])}{more}",
            "take a complete checkpoint, or name in `model.allowMissingWeights` what may be random",
        )
    if missing:
        logger.warning("weights that start at random, as the spec allows: %s", ", ".join(missing))
