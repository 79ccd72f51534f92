"""Formats of media files: what a name promises, and what the first bytes say. Pure.

Contents are never opened by guessing: FFmpeg's guess would follow a playlist to other files and hosts.
"""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

Modality = Literal["text", "image", "audio", "video"]
MODALITIES: tuple[Modality, ...] = ("text", "image", "audio", "video")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a cell. message: the rest of a sentence that begins with its place."""

    reason: str
    message: str


@dataclass(frozen=True)
class Format:
    """A format by the endings its files have. demuxer: FFmpeg's name of it; "" for images."""

    name: str
    suffixes: tuple[str, ...]
    demuxer: str = ""


IMAGES = (
    Format("JPEG", (".jpg", ".jpeg")),
    Format("PNG", (".png",)),
    Format("GIF", (".gif",)),
    Format("BMP", (".bmp",)),
    Format("TIFF", (".tiff", ".tif")),
    Format("WEBP", (".webp",)),
)
WAV = Format("WAV", (".wav",), "wav")
FLAC = Format("FLAC", (".flac",), "flac")
OGG = Format("OGG", (".ogg", ".oga", ".opus"), "ogg")
MP3 = Format("MP3", (".mp3",), "mp3")
AAC = Format("AAC", (".aac",), "aac")
AVI = Format("AVI", (".avi",), "avi")
MP4 = Format("MP4", (".mp4", ".mov", ".m4v", ".m4a"), "mov")
MATROSKA = Format("Matroska", (".mkv", ".webm"), "matroska")

IMAGE_SUFFIXES = tuple(s for f in IMAGES for s in f.suffixes)
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aac", ".m4a")
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi")
MEDIA_SUFFIXES = (*IMAGE_SUFFIXES, *AUDIO_SUFFIXES, *VIDEO_SUFFIXES)
SUFFIXES: dict[Modality, tuple[str, ...]] = {
    "image": IMAGE_SUFFIXES,
    "audio": AUDIO_SUFFIXES,
    "video": VIDEO_SUFFIXES,
}
REFUSED_SUFFIXES = (
    ".jp2", ".heic", ".avif", ".svg", ".pdf", ".psd", ".wmv", ".flv", ".mpg", ".mpeg", ".3gp",
    ".wma", ".aiff", ".aif", ".amr", ".ac3", ".m3u8",
)  # fmt: skip
"""Media that no decoder here is meant for. As a text they would be trained letter by letter."""


def kind_of_suffix(suffix: str) -> Modality:
    """What a file whose name ends so should hold; "text" where the ending promises no medium."""
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), "text")


def recording_format(encoded: bytes) -> Format | None:
    """Format of audio or video by its first bytes; None for anything else."""
    head = encoded[:12]
    if head[:4] == b"RIFF":
        return {b"WAVE": WAV, b"AVI ": AVI}.get(head[8:12])
    if head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}:
        return MP4
    by_start = {b"fLaC": FLAC, b"OggS": OGG, b"\x1aE\xdf\xa3": MATROSKA}
    return by_start.get(head[:4]) or _frames_of_audio(head)


def _frames_of_audio(head: bytes) -> Format | None:
    """MP3 and AAC have no head of their own: they begin with tags, or with 11 bits set."""
    if head[:3] == b"ID3":
        return MP3
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return AAC if head[1] & 0xF6 == 0xF0 else MP3


def fits_name(found: Format, name: str) -> bool:
    return PurePath(name).suffix.lower() in found.suffixes
