"""Small recordings of every format: a tone that lasts, a picture that grows lighter."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

SECONDS = 1.0
RATE = 16_000
_AUDIO = {  # ending -> FFmpeg's format and codec
    "wav": ("wav", "pcm_s16le"),
    "flac": ("flac", "flac"),
    "ogg": ("ogg", "libopus"),
    "mp3": ("mp3", "libmp3lame"),
    "m4a": ("ipod", "aac"),
    "aac": ("adts", "aac"),
}
_VIDEO = {
    "mp4": ("mp4", "libx264"),
    "mov": ("mov", "mpeg4"),
    "webm": ("webm", "libvpx-vp9"),
    "mkv": ("matroska", "mpeg4"),
    "avi": ("avi", "mpeg4"),
}
AUDIO_ENDINGS = tuple(_AUDIO)
VIDEO_ENDINGS = tuple(_VIDEO)


def tone(pitch: float = 440.0, *, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """(samples,) float32."""
    times = np.arange(int(seconds * rate)) / rate
    return np.asarray(0.5 * np.sin(2 * np.pi * pitch * times), dtype=np.float32)


def write_wav(path: Path, pitch: float = 440.0, *, seconds: float = SECONDS, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(pitch, seconds=seconds, rate=rate), rate)
    return path


def write_audio(path: Path, pitch: float = 440.0, *, seconds: float = SECONDS) -> Path:
    """In the format that the path's ending says."""
    form, codec = _AUDIO[path.suffix[1:]]
    rate = 48_000 if codec == "libopus" else RATE
    target = io.BytesIO()
    with av.open(target, "w", format=form) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=960)
        frame = av.AudioFrame.from_ndarray(
            tone(pitch, seconds=seconds, rate=rate)[None], format="flt", layout="mono"
        )
        frame.sample_rate = rate
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return _written(path, target)


def write_video(
    path: Path, shade: int = 0, *, frames: int = 20, rate: int = 10, size: tuple[int, int] = (64, 48)
) -> Path:
    """In the format that the path's ending says; every frame is a little lighter than the one before."""
    form, codec = _VIDEO[path.suffix[1:]]
    target = io.BytesIO()
    with av.open(target, "w", format=form) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            picture = np.full((size[1], size[0], 3), (shade + 8 * number) % 256, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    return _written(path, target)


def _written(path: Path, target: io.BytesIO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(target.getvalue())
    return path
