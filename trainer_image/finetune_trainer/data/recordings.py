"""Audio and video: checked before training, decoded when a step asks, by FFmpeg (PyAV) and libsndfile.

Recordings are read from memory with the demuxer that their first bytes name, so that nothing in one can lead
to another file.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import av
import numpy as np
import soundfile
import soxr
from av.container import InputContainer
from numpy.typing import NDArray

from finetune_trainer.data.images import MAX_PIXELS
from finetune_trainer.data.media_formats import (
    FLAC,
    MP3,
    OGG,
    WAV,
    Format,
    Modality,
    Problem,
    recording_format,
)
from finetune_trainer.data.wholeness import is_cut_off, promises_length
from finetune_trainer.errors import InvalidData

Kind = Literal["audio", "video"]

MAX_SAMPLES = 200_000_000
"""Of one channel: more than an hour at 48 kHz, 800 MB when decoded."""
MAX_SECONDS = 4 * 3600
MAX_FRAMES = 1_000_000
MAX_VIDEO_PIXELS = 600_000_000
"""Over all frames that a model is shown: 300 frames of 1920 x 1080, 1.8 GB when decoded."""
_OF_SNDFILE = {WAV, FLAC, OGG, MP3}
_TOLERANCE_SECONDS = 0.25
"""Encoders pad the end to a whole frame, and containers round."""


@dataclass(frozen=True)
class Sampling:
    """How recordings are decoded: for the processor of a model, which samples the frames that it is given.

    sampling_rate: of audio, in Hz; None: as recorded. Frames of a video are spread evenly over it.
    """

    sampling_rate: int | None = None
    frames_per_second: float = 2.0
    min_frames: int = 4
    max_frames: int = 768

    def frames(self, seconds: float) -> int:
        """How many frames of a video of this length are decoded."""
        return max(self.min_frames, min(self.max_frames, round(seconds * self.frames_per_second)))


def _unreadable(kind: Kind, why: object) -> InvalidData:
    """Of a recording that had nothing wrong when it was checked."""
    return InvalidData(
        f"Unreadable{kind.capitalize()}",
        f"{kind} cannot be decoded: {why}",
        "check the file, or remove its row",
    )


def recording_kind(encoded: bytes) -> Kind | None:
    """What a recording holds: video where it has moving pictures; None if it is no recording."""
    found = recording_format(encoded)
    if found is None:
        return None
    try:
        with _open(encoded, found) as file:
            return "video" if _stream(file, "video") is not None else "audio"
    except (av.FFmpegError, ValueError):
        return None


def recording_problem(encoded: bytes, kind: Modality) -> Problem | None:
    """What is wrong with a recording, if anything: cut off, not decodable, too large, or of another kind."""
    found = recording_format(encoded)
    unreadable = f"Unreadable{kind.capitalize()}"
    if found is None:
        return Problem(unreadable, f"must be {kind}, found {len(encoded)} other bytes")
    if is_cut_off(encoded, found):
        return Problem(unreadable, f"is cut off: its head promises more than its {len(encoded)} bytes")
    try:
        with _open(encoded, found) as file:
            stream = _stream(file, kind)
            if stream is None:
                return Problem(unreadable, f"must be {kind}, found a {found.name} file without any")
            examine = _audio_problem if kind == "audio" else _video_problem
            return examine(file, stream, _promised_seconds(file, encoded, found))
    except (av.FFmpegError, ValueError, MemoryError) as error:
        return Problem(unreadable, f"cannot be decoded ({type(error).__name__}: {str(error)[:120]})")


def _open(encoded: bytes, found: Format) -> InputContainer:
    return av.open(io.BytesIO(encoded), "r", format=found.demuxer, metadata_errors="replace")


def _stream(file: InputContainer, kind: Modality) -> Any:
    """The first stream of the kind; a cover picture is no video."""
    streams: Iterable[Any] = file.streams.audio if kind == "audio" else file.streams.video
    pictures = int(av.stream.Disposition.attached_pic)
    return next((s for s in streams if not int(s.disposition) & pictures), None)


def _promised_seconds(file: InputContainer, encoded: bytes, found: Format) -> float | None:
    if file.duration is None or not promises_length(encoded, found):
        return None
    return file.duration / av.time_base


def _audio_problem(file: InputContainer, stream: Any, promised: float | None) -> Problem | None:
    samples = 0
    for frame in file.decode(stream):
        samples += frame.samples
        if samples > MAX_SAMPLES:
            return Problem("AudioTooLarge", f"must have at most {MAX_SAMPLES} samples, found more")
    seconds = samples / stream.rate
    if samples == 0 or (promised is not None and seconds < promised - _TOLERANCE_SECONDS):
        return Problem("UnreadableAudio", f"is cut off after {seconds:.2f} of {promised or 0:.2f} seconds")
    return None


def _video_problem(file: InputContainer, stream: Any, promised: float | None) -> Problem | None:
    if stream.width * stream.height > MAX_PIXELS:
        return Problem(
            "VideoTooLarge",
            f"must have at most {MAX_PIXELS} pixels a frame, found {stream.width} x {stream.height}",
        )
    times = _times(file, stream)
    if len(times) < max(1, stream.frames):
        return Problem("UnreadableVideo", f"is cut off after {len(times)} of {stream.frames} frames")
    seconds = _seconds(times, stream)
    if promised is not None and stream.frames == 0 and seconds < promised - 2 * _TOLERANCE_SECONDS:
        return Problem("UnreadableVideo", f"is cut off after {seconds:.2f} of {promised:.2f} seconds")
    if seconds > MAX_SECONDS or len(times) > MAX_FRAMES:
        return Problem(
            "VideoTooLarge",
            f"must last at most {MAX_SECONDS} seconds and {MAX_FRAMES} frames, found {seconds:.0f} and"
            f" {len(times)}",
        )
    shown = min(Sampling().frames(seconds), len(times)) * stream.width * stream.height
    if shown > MAX_VIDEO_PIXELS:
        return Problem(
            "VideoTooLarge",
            f"must have at most {MAX_VIDEO_PIXELS} pixels in the frames a model is shown, found {shown}",
        )
    _decode_key_frames(file, stream)
    return None


def _times(file: InputContainer, stream: Any) -> list[float]:
    """When each frame is shown, in seconds; nothing is decoded for it."""
    packets = (p for p in file.demux(stream) if p.size)
    return sorted(float((p.pts if p.pts is not None else p.dts or 0) * p.time_base) for p in packets)


def _seconds(times: list[float], stream: Any) -> float:
    rate = float(stream.average_rate or stream.base_rate or 1)
    return times[-1] - times[0] + 1 / rate


def _decode_key_frames(file: InputContainer, stream: Any) -> None:
    """Raises FFmpegError at one that cannot be decoded; those between follow from them."""
    file.seek(0)
    stream.codec_context.skip_frame = "NONKEY"
    for _ in file.decode(stream):
        pass


def decode_audio(encoded: bytes, rate: int | None) -> tuple[NDArray[np.float32], int]:
    """(samples,) between -1 and 1, channels mixed to one, and their rate in Hz."""
    found = recording_format(encoded)
    if found is None:
        raise _unreadable("audio", "its format is unknown")
    read = _by_sndfile(encoded) if found in _OF_SNDFILE else None
    samples, recorded = read or _by_ffmpeg(encoded, found)
    wanted = rate or recorded
    return (samples if wanted == recorded else soxr.resample(samples, recorded, wanted)), wanted


def _by_sndfile(encoded: bytes) -> tuple[NDArray[np.float32], int] | None:
    """None for a codec that it does not know.

    Many times faster than FFmpeg through Python: for ten seconds of WAV 0.4 ms of CPU against 10.
    """
    try:
        samples, rate = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        return None
    return _mixed(samples.T), int(rate)


def _by_ffmpeg(encoded: bytes, found: Format) -> tuple[NDArray[np.float32], int]:
    try:
        with _open(encoded, found) as file:
            stream = _stream(file, "audio")
            resampler = av.AudioResampler(format="fltp", rate=stream.rate)
            frames = chain.from_iterable(resampler.resample(f) for f in chain(file.decode(stream), [None]))
            return np.concatenate([_mixed(frame.to_ndarray()) for frame in frames]), int(stream.rate)
    except av.FFmpegError as error:
        raise _unreadable("audio", error) from error


def _mixed(samples: Any) -> NDArray[np.float32]:
    """(channels, samples) to one channel: their mean, as the library's own decoder has it."""
    mixed: NDArray[np.float32] = np.ascontiguousarray(samples.mean(axis=0), dtype=np.float32)
    return mixed


def decode_video(encoded: bytes, sampling: Sampling) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """(frames, height, width, 3) spread evenly over the video, and what processors ask about it."""
    found = recording_format(encoded)
    if found is None:
        raise _unreadable("video", "its format is unknown")
    try:
        with _open(encoded, found) as file:
            stream = _stream(file, "video")
            times = _times(file, stream)
            seconds = _seconds(times, stream)
            wanted = _spread(len(times), sampling.frames(seconds))
            file.seek(0)
            frames = [
                frame.to_ndarray(format="rgb24")
                for number, frame in enumerate(file.decode(stream))
                if number in wanted
            ]
    except av.FFmpegError as error:
        raise _unreadable("video", error) from error
    # Models pair frames: a single one is shown twice.
    shown = np.stack(frames if len(frames) > 1 else frames * 2)
    return shown, {
        "fps": len(shown) / seconds,
        "total_num_frames": len(shown),
        "duration": seconds,
        "frames_indices": list(range(len(shown))),
    }


def _spread(length: int, count: int) -> set[int]:
    """Numbers of `count` frames, evenly among `length`; all where there are fewer."""
    return set(np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist())
