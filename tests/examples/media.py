"""Pairs of words as pictures, sounds and clips: a word is a colour, a tone, or the colour of half a clip."""

import colorsys
import io
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from tests.examples.words import COUNT, Pair

SAMPLING_RATE = 16_000
_TONE_SECONDS = 0.25
_LOWEST_HERTZ = 200.0
_FRAMES = 8
_PER_SECOND = 4


def colour(word: int) -> tuple[int, int, int]:
    """One of COUNT colours that differ in hue and in brightness."""
    red, green, blue = colorsys.hsv_to_rgb(word / COUNT, 1.0, 1.0 if word % 2 else 0.6)
    return round(255 * red), round(255 * green), round(255 * blue)


def picture(pair: Pair, size: int = 64) -> Image.Image:
    """Left half in the colour of the first word, right half in that of the second."""
    image = Image.new("RGB", (size, size), colour(pair.first))
    image.paste(colour(pair.second), (size // 2, 0, size, size))
    return image


def png(pair: Pair, size: int = 64) -> bytes:
    content = io.BytesIO()
    picture(pair, size).save(content, "png")
    return content.getvalue()


def tones(pair: Pair) -> NDArray[np.float32]:
    """(samples,) two tones one after the other, at SAMPLING_RATE."""
    times = np.arange(int(SAMPLING_RATE * _TONE_SECONDS)) / SAMPLING_RATE
    hertz = [_LOWEST_HERTZ * 2 ** (word / 4) for word in (pair.first, pair.second)]
    return np.concatenate([0.5 * np.sin(2 * np.pi * f * times) for f in hertz]).astype(np.float32)


def write_sound(path: Path, pair: Pair) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tones(pair), SAMPLING_RATE)


def write_clip(path: Path, pair: Pair, size: int = 64) -> None:
    """The first half of the frames in one colour, the second half in the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=_PER_SECOND)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(_FRAMES):
            word = pair.first if number < _FRAMES // 2 else pair.second
            picture = np.asarray(Image.new("RGB", (size, size), colour(word)))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
