"""Images in tables: whether one can be read, before a step asks for it."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from finetune_trainer.data.media_formats import IMAGES, Problem, fits_name

MAX_PIXELS = 100_000_000
"""Beyond this a small file fills the memory when it is decoded; a page at 600 dpi has 35 million."""
FORMATS = tuple(f.name for f in IMAGES)
_JPEG_END = b"\xff\xd9"
_TAIL = 4096


def image_problem(encoded: bytes) -> Problem | None:
    """What is wrong with an encoded image, if anything."""
    try:
        with warnings.catch_warnings():
            # Its limits are what this function is here for, and it has one of its own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    return Problem(
                        "ImageTooLarge", f"must have at most {MAX_PIXELS} pixels, found {width} x {height}"
                    )
                _require_whole(image, encoded)
    except Image.DecompressionBombError:
        return Problem(
            "ImageTooLarge", f"must have at most {MAX_PIXELS} pixels, found more than twice as many"
        )
    except UnidentifiedImageError:
        return Problem(
            "UnreadableImage", f"must be one of {', '.join(FORMATS)}, found {len(encoded)} other bytes"
        )
    except Exception as error:  # noqa: BLE001 - decoders raise whatever a broken file makes them run into
        return Problem("UnreadableImage", f"cannot be decoded ({type(error).__name__}: {str(error)[:120]})")
    return None


def _require_whole(image: Image.Image, encoded: bytes) -> None:
    """Raises when the file is cut off. Cheap where the format allows it; else by decoding.

    PNG has check sums, which `verify` follows to the end; JPEG ends with a mark, WebP begins with its length.
    """
    if image.format == "PNG":
        image.verify()
        return
    whole = (image.format == "JPEG" and _JPEG_END in encoded[-_TAIL:]) or (
        image.format == "WEBP" and len(encoded) >= int.from_bytes(encoded[4:8], "little") + 8
    )
    if not whole:
        image.load()


def is_image_of_name(encoded: bytes, name: str) -> bool:
    """Whether the image is of the format that its file's name says; of images that can be read."""
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
        return any(f.name == image.format and fits_name(f, name) for f in IMAGES)
