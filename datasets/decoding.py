"""From the bytes of an image file to pixels: 8-bit RGB, upright, whatever the file holds.

* Grey, palette, CMYK and 1-bit images become RGB as Pillow converts them; of 16 bits a pixel the upper 8 are kept.
* What is transparent shows the colour that lies under it: alpha is dropped, not blended with a background.
* An image is turned upright if its EXIF orientation says so, as every viewer does.
* Of an animation the first frame is read.
* Images of more than 89 megapixels (Pillow's own limit) are refused before memory is taken for them.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from ..registry import UserError


def open_image(data: bytes, place: str) -> Image.Image:
    """An image whose header has been read, and nothing more.

    Args:
        place: where a person finds it, for the error.

    Raises:
        UserError: it is no image, or too large.
    """
    try:
        with warnings.catch_warnings():
            # Pillow only warns up to twice its limit; an image of that size takes half a gigabyte.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UserError(f"{place} is larger than {limit:.0f} megapixels: make it smaller, or remove it") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{place} cannot be read as an image: {_reason(data, error)}. Mend or remove it.") from error


def decode(data: bytes, place: str) -> Image.Image:
    """The whole image, RGB and upright.

    Raises:
        UserError: as `open_image`; or it is damaged.
    """
    image = open_image(data, place)
    try:
        return ImageOps.exif_transpose(to_rgb(image))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise UserError(f"{place} cannot be read as an image: {_reason(data, error)}. Mend or remove it.") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit RGB."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow's own conversion would cut off at 255: all white
        exif = image.getexif()
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        image.info["exif"] = exif.tobytes()
    return image.convert("RGB")


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "the file is empty"
    return "it is not in a format that Pillow knows" if isinstance(error, Image.UnidentifiedImageError) else str(error)
