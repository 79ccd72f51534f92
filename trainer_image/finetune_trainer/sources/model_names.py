"""Which files of a folder, bucket, artifact or repository belong to a model."""

from fnmatch import fnmatchcase

WEIGHTS = ".safetensors"
MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""Weights only as safetensors: other formats are pickles, which run code when they are read."""
CODE_FILES = ["*.py"]
NOT_MODEL_FILES = ["onnx/*", "openvino/*", "*checkpoint-*"]


def wanted_patterns(*, trusted: bool) -> list[str]:
    """Of a model's files. trusted: with the code that comes with it."""
    return [*MODEL_FILES, *(CODE_FILES if trusted else [])]


def is_model_file(name: str, *, trusted: bool) -> bool:
    """As the hub's client takes these patterns: over the whole name, with its folders."""
    return any(fnmatchcase(name, p) for p in wanted_patterns(trusted=trusted)) and not any(
        fnmatchcase(name, p) for p in NOT_MODEL_FILES
    )
