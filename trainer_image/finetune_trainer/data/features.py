"""Columns of media for the `datasets` library: encoded in the table, decoded when a row is looked at.

Its own audio and video features decode with torchcodec, which needs FFmpeg beside it; these bring theirs. A
column keeps its decoder through `select`, `rename_column` and `concatenate_datasets`, and data workers decode
in their own processes.
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
from datasets.features.features import register_feature
from typing_extensions import override

from finetune_trainer.data.media_formats import Modality
from finetune_trainer.data.recordings import Sampling, decode_audio, decode_video


@dataclass
class AudioFile(datasets.Audio):  # type: ignore[misc]
    """Audio as {"array": (samples,) float32 of one channel, "sampling_rate": Hz}."""

    _type: str = field(default="AudioFile", init=False, repr=False)

    @override
    def decode_example(self, value: Any, token_per_repo_id: Any = None) -> Any:
        samples, rate = decode_audio(encoded_bytes(value), self.sampling_rate)
        return {"array": samples, "sampling_rate": rate}


@dataclass
class VideoFile(datasets.Video):  # type: ignore[misc]
    """Video as {"array": (frames, height, width, 3) uint8, "video_metadata": {fps, duration, ...}}.

    The library writes a feature's fields into the table as JSON, and so they are plain numbers.
    """

    frames_per_second: float = Sampling.frames_per_second
    min_frames: int = Sampling.min_frames
    max_frames: int = Sampling.max_frames
    _type: str = field(default="VideoFile", init=False, repr=False)

    @override
    def decode_example(self, value: Any, token_per_repo_id: Any = None) -> Any:
        sampling = Sampling(
            frames_per_second=self.frames_per_second, min_frames=self.min_frames, max_frames=self.max_frames
        )
        frames, metadata = decode_video(encoded_bytes(value), sampling)
        return {"array": frames, "video_metadata": metadata}


with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # that this is experimental
    register_feature(AudioFile, "AudioFile")
    register_feature(VideoFile, "VideoFile")


def encoded_bytes(cell: Any) -> bytes:
    """Of {bytes, path}."""
    return bytes(cell["bytes"]) if cell["bytes"] else Path(cell["path"]).read_bytes()


def decoding(kind: Modality) -> Any:
    """The feature that decodes cells {bytes, path} of this kind; texts are left as they are."""
    decoders = {"image": datasets.Image, "audio": AudioFile, "video": VideoFile}
    return decoders[kind]() if kind in decoders else datasets.Value("string")


def modalities(feature: Any) -> tuple[Modality, ...]:
    """What inputs of a column hold: one modality, or of mixed inputs several, in their order."""
    if isinstance(feature, datasets.List | datasets.LargeList):
        return modalities(feature.feature)
    if isinstance(feature, dict):
        return tuple(feature)
    if isinstance(feature, datasets.Image):
        return ("image",)
    return ("text",)


def sampled(rows: datasets.Dataset, sampling: Sampling) -> datasets.Dataset:
    """The same rows, their recordings decoded in this way."""
    copied = rows.with_format(rows.format["type"])
    assert copied.info.features is not None  # noqa: S101 - for the type checker
    for name, feature in copied.info.features.items():
        copied.info.features[name] = _sampled(feature, sampling)
    return copied


def _sampled(feature: Any, sampling: Sampling) -> Any:
    match feature:
        case AudioFile():
            return AudioFile(sampling_rate=sampling.sampling_rate)
        case VideoFile():
            return VideoFile(
                frames_per_second=sampling.frames_per_second,
                min_frames=sampling.min_frames,
                max_frames=sampling.max_frames,
            )
        case dict():
            return {name: _sampled(part, sampling) for name, part in feature.items()}
        case datasets.List() | datasets.LargeList():
            return type(feature)(_sampled(feature.feature, sampling))
        case _:
            return feature
