"""What a published version is made of."""

from pathlib import Path

from finetune_trainer.errors import InvalidModel

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
"""Formats that run code when they are read: nobody must get one from us."""


def model_files(folder: Path) -> dict[str, Path]:
    """Every file of a saved model, by its name in the folder. Raises InvalidModel for weights as a pickle."""
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    if pickles := [name for name in files if name.lower().endswith(PICKLES)]:
        raise InvalidModel(
            "PickledWeights",
            f"a published model must have its weights as safetensors, found {', '.join(pickles[:3])}",
            "start from a model whose modules are saved as safetensors",
        )
    return files
