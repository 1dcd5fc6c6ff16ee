"""From the bytes of an image file to pixels: 8-bit RGB, upright, whatever the file holds.

* Grey, palette, CMYK and 1-bit images become RGB as Pillow converts them; of 16 bits a pixel the upper 8 are kept.
* Floats, and integers outside 0 to 65535, are refused: nothing in such a file says which value is white.
* What is transparent shows the colour that lies under it: alpha is dropped, not blended with a background.
* An image is turned upright if its EXIF orientation says so, as every viewer does. Damaged EXIF data says nothing.
* Of an animation the first frame is read.
* Images of more than 89 megapixels (Pillow's own limit) are refused before memory is taken for them.
* What a file is, its first bytes say, not its name. Pillow knows more formats than `FORMATS`, and takes nearly anything
  for one or the other of them; to read one, PostScript, it would even run another program.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import ExifTags, Image

from ...registry import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF")

# How an image lies that has an EXIF orientation (CIPA DC-008, tag 0x0112), and so what brings it upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow reads: older ones lack AVIF."""
    Image.init()
    return tuple(each for each in FORMATS if each in Image.OPEN)


@cache
def endings() -> tuple[str, ...]:
    """What the names of such files end in: `.jpg`, `.png`, ..."""
    known = Image.registered_extensions()
    return tuple(sorted((each for each, kind in known.items() if kind in formats()), key=lambda e: (len(e), e)))


@contextmanager
def reading(data: bytes, place: str) -> Iterator[None]:
    """Whatever Pillow raises inside becomes a UserError that names the place.

    Everything is caught: of damaged files a decoder may raise any exception there is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that makes no difference here
            # Pillow only warns up to twice its limit; an image of that size takes half a gigabyte.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except UserError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UserError(f"{place} is larger than {limit:.0f} megapixels: make it smaller, or remove it") from error
    except Exception as error:
        raise UserError(f"{place} cannot be read as an image: {_reason(data, error)}. Mend or remove it.") from error


def open_image(data: bytes, place: str) -> Image.Image:
    """An image whose header has been read, and nothing more.

    Args:
        place: where a person finds it, for the error.

    Raises:
        UserError: it is no image, or too large.
    """
    with reading(data, place):
        return Image.open(io.BytesIO(data), formats=formats())


def decode(data: bytes, place: str) -> Image.Image:
    """The whole image, RGB and upright.

    Raises:
        UserError: as `open_image`; or it is damaged, or of a kind of pixels that cannot be shown.
    """
    image = open_image(data, place)
    with reading(data, place):
        return upright(to_rgb(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit RGB.

    Raises:
        ValueError: its pixels have no known range.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floats, of which none is known to be white: save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow's own conversion would cut off at 255: all white
        exif = image.info.get("exif")
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"its pixels are {pixels.min()} to {pixels.max()}: save it with 8 or 16 bits")
        image = Image.fromarray((pixels >> 8).astype(np.uint8))
        image.info["exif"] = exif
    return image.convert("RGB")


def upright(image: Image.Image) -> Image.Image:
    """An image as its EXIF orientation says that it is to be seen."""
    method = _UPRIGHT.get(orientation(image))
    return image if method is None else image.transpose(method)


def orientation(image: Image.Image) -> int:
    """How an image lies: 1 upright, to 8, as EXIF counts."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # viewers show a picture whose EXIF data is damaged as it stands
        return 1


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "the file is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"it is none of {', '.join(formats())}"
    return f"{error}" if isinstance(error, (OSError, ValueError, SyntaxError)) else f"{type(error).__name__}: {error}"
