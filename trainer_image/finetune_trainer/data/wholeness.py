"""Whether a recording is whole, as far as its container says so: a cut-off file mostly still plays. Pure."""

from finetune_trainer.data.media_formats import AVI, MATROSKA, MP3, MP4, OGG, WAV, Format

_UNKNOWN_SIZES = {0, 0xFFFFFFFF}
"""What writers that cannot go back put in place of a size."""


def is_cut_off(encoded: bytes, found: Format) -> bool:
    """True when the container promises more bytes than there are.

    FLAC keeps its promise in samples, not in bytes; MP3 and AAC mostly make none.
    """
    if found in {WAV, AVI}:
        size = int.from_bytes(encoded[4:8], "little")
        return size not in _UNKNOWN_SIZES and size + 8 > len(encoded) + size % 2
    if found is MP4:
        return _ends_inside_a_box(encoded)
    if found is OGG:
        return not _ends_with_last_page(encoded)
    return found is MATROSKA and _segment_is_cut(encoded)


def promises_length(encoded: bytes, found: Format) -> bool:
    """Whether the length in seconds that FFmpeg finds is the writer's, and no guess from the file's size."""
    if found is not MP3:
        return found.name in {"WAV", "FLAC", "MP4", "Matroska"}
    tags = 0
    if encoded[:3] == b"ID3":
        tags = 10 + sum((byte & 0x7F) << 7 * (3 - n) for n, byte in enumerate(encoded[6:10]))
    first_frame = encoded[tags : tags + 256]
    return b"Xing" in first_frame or b"Info" in first_frame


def _ends_inside_a_box(encoded: bytes) -> bool:
    """MP4 is a row of boxes; without `moov` among them nothing can be found in it."""
    start, names = 0, set()
    while start + 8 <= len(encoded):
        size = int.from_bytes(encoded[start : start + 4], "big")
        names.add(encoded[start + 4 : start + 8])
        if size == 1:
            size = int.from_bytes(encoded[start + 8 : start + 16], "big")
        if size == 0:  # up to the end, whatever that is
            start = len(encoded)
        elif size < 8:
            return True
        start += size
    return b"moov" not in names or start > len(encoded)


def _ends_with_last_page(encoded: bytes) -> bool:
    """Ogg marks its last page, and every page says how long it is."""
    start = encoded.rfind(b"OggS")
    head = encoded[start : start + 27]
    if start < 0 or len(head) < 27:
        return False
    lengths = encoded[start + 27 : start + 27 + head[26]]
    end = start + 27 + head[26] + sum(lengths)
    return bool(head[5] & 4) and end <= len(encoded)


def _segment_is_cut(encoded: bytes) -> bool:
    """Matroska is a head and a segment, both with their size in front."""
    head_size, width = _variable_integer(encoded, 4)
    start = 4 + width + head_size
    if encoded[start : start + 4] != b"\x18S\x80g":
        return True
    size, width = _variable_integer(encoded, start + 4)
    unknown = size == 2 ** (7 * width) - 1
    return not unknown and start + 4 + width + size > len(encoded)


def _variable_integer(encoded: bytes, start: int) -> tuple[int, int]:
    """An EBML number at `start`, and its width in bytes: the leading zeros of its first byte, plus one."""
    first = encoded[start] if start < len(encoded) else 0
    width = 9 - first.bit_length()
    value = int.from_bytes(encoded[start : start + width], "big")
    return value & (2 ** (7 * width) - 1), width
