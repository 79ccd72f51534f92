"""Nested state, as optimizers and generators have it, as JSON beside named tensors, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

_TENSOR, _TUPLE, _ITEMS = "$tensor", "$tuple", "$items"


def flatten(tree: Any, name: str, tensors: "dict[str, Tensor]") -> Any:
    """The tree for JSON; its tensors go into `tensors`, named from `name` on.

    Raises TypeError for what is neither data nor a tensor.
    """
    match tree:
        case torch.Tensor():
            tensors[name] = tree
            written: Any = {_TENSOR: name}
        case None | bool() | int() | float() | str():
            written = tree
        case np.ndarray() | np.generic():
            written = tree.tolist()
        case list():
            written = [flatten(part, f"{name}/{number}", tensors) for number, part in enumerate(tree)]
        case tuple():
            written = {_TUPLE: flatten(list(tree), name, tensors)}
        case dict():
            # JSON would make texts of other keys.
            items = [[key, flatten(part, f"{name}/{key}", tensors)] for key, part in tree.items()]
            written = {_ITEMS: items}
        case _:
            raise TypeError(f"{name}: a {type(tree).__name__} cannot be written into a checkpoint")
    return written


def rebuild(written: Any, tensors: "Mapping[str, Tensor]") -> Any:
    """What `flatten` was given, but for arrays, which come as lists. Raises KeyError without a tensor."""
    match written:
        case {"$tensor": name}:
            return tensors[name]
        case {"$tuple": list(parts)}:
            return tuple(rebuild(part, tensors) for part in parts)
        case {"$items": list(items)}:
            return {key: rebuild(part, tensors) for key, part in items}
        case list():
            return [rebuild(part, tensors) for part in written]
        case _:
            return written
