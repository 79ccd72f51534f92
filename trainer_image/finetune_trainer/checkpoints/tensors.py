"""Tensors by name, in safetensors files of bounded size, so that only one of them at a time needs memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from finetune_trainer.checkpoints.manifest import Damaged

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE_BYTES = 2**30
"""At least one tensor goes into a file, however large it is."""


def trained_tensors(modules: "Mapping[str, nn.Module]") -> "dict[str, Tensor]":
    """What training may change: parameters that are trained, and buffers that are saved with a model.

    By `<module>/<name>`; what has two names, as a tied weight, is there once.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for module, content in modules.items():
        saved = set(content.state_dict())
        named: list[tuple[str, Tensor]] = [(n, p) for n, p in content.named_parameters() if p.requires_grad]
        named += [(n, b) for n, b in content.named_buffers() if n in saved]
        for name, tensor in named:
            if id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"{module}/{name}"] = tensor.detach()
    return found


def write_tensors(folder: Path, stem: str, tensors: "Mapping[str, Tensor]") -> None:
    """Into `<stem>-0.safetensors` and so on."""
    from safetensors.torch import save_file

    for number, names in enumerate(_in_files(tensors)):
        # Copied, because views of one storage cannot be saved side by side.
        part = {name: tensors[name].detach().to("cpu", copy=True).contiguous() for name in names}
        save_file(part, folder / f"{stem}-{number}.safetensors")


def read_tensors(folder: Path, stem: str) -> "Iterator[tuple[str, Tensor]]":
    """(name, tensor), one at a time, on the CPU. Raises Damaged."""
    for file in _opened(folder, stem):
        for name in file.keys():  # noqa: SIM118 - it is no dict
            yield name, file.get_tensor(name)


def put_back(folder: Path, stem: str, tensors: "Mapping[str, Tensor]") -> None:
    """Copy what was written into tensors of the same names.

    Raises Damaged, with nothing changed, unless all are there and fit.
    """
    kept = _shapes(folder, stem)
    wanted = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if differing := sorted(n for n in kept.keys() | wanted if kept.get(n) != wanted.get(n)):
        name = differing[0]
        raise Damaged(f"{name} must have the shape {wanted.get(name)}, found {kept.get(name)}")
    with torch.no_grad():
        for name, tensor in read_tensors(folder, stem):
            tensors[name].copy_(tensor)


def _shapes(folder: Path, stem: str) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}
    for file in _opened(folder, stem):
        shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - no dict
    return shapes


def _opened(folder: Path, stem: str) -> Iterator[Any]:
    """Each file of the stem, in turn. Raises Damaged."""
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob(f"{stem}-*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                yield file
        except (OSError, SafetensorError) as error:
            raise Damaged(f"{path.name} cannot be read ({error})") from error


def _in_files(tensors: "Mapping[str, Tensor]") -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        if names and size + tensor.nbytes > FILE_BYTES:
            yield names
            names, size = [], 0
        names.append(name)
        size += tensor.nbytes
    if names:
        yield names
