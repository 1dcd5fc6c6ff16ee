"""Golden pixels: what every kind of image file becomes, held against what was put into it."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from knoll.datasets.layouts.image_folder import ImageFolder
from knoll.datasets.loading.decoding import decode, endings
from knoll.registry import UserError

pytestmark = pytest.mark.row(24)

COLOURS = np.array([[[255, 0, 0], [0, 200, 0], [0, 0, 90]], [[1, 2, 3], [250, 128, 7], [77, 77, 77]]], np.uint8)
GREYS = np.array([[0, 50, 100], [150, 200, 255]], np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def pixels(data: bytes) -> np.ndarray:
    image = decode(data, "photos/1.jpg")
    assert image.mode == "RGB"
    return np.asarray(image)


def png(rows: np.ndarray, colour_type: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write: rows are (H, W, channels) (PNG specification, 11.2)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_colour_and_grey(kind):
    options = dict(lossless=True) if kind == "WEBP" else {}
    assert np.array_equal(pixels(encoded(Image.fromarray(COLOURS), kind, **options)), COLOURS)
    grey = encoded(Image.fromarray(GREYS), kind, **options)
    assert np.array_equal(pixels(grey), np.stack([GREYS] * 3, -1))


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
def test_what_is_lossy_is_near(kind):
    if "." + kind.lower() not in endings():
        pytest.skip(f"this Pillow has no {kind}")
    for colour in ((255, 0, 0), (30, 140, 220), (128, 128, 128)):
        found = pixels(encoded(Image.new("RGB", (32, 16), colour), kind, quality=100))
        assert found.shape == (16, 32, 3)
        np.testing.assert_allclose(found.astype(int), np.broadcast_to(colour, found.shape), atol=3)


def test_one_bit():
    bits = np.array([[True, False, True]])
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        assert np.array_equal(
            pixels(encoded(Image.fromarray(bits), kind)), np.uint8(255) * bits[..., None].repeat(3, 2)
        )


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk(kind):
    """Ink takes light away: a channel is (1 - ink)(1 - black). JPEGs hold it inverted, as Adobe writes them."""
    for inks in ((0, 0, 0, 0), (255, 0, 0, 0), (40, 80, 160, 20), (0, 0, 0, 255)):
        expected = [(255 - ink) * (255 - inks[3]) / 255 for ink in inks[:3]]
        options = dict(quality=100, subsampling=0) if kind == "JPEG" else {}
        found = pixels(encoded(Image.new("CMYK", (16, 16), inks), kind, **options))
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_dropped_and_the_colour_under_it_shows(kind):
    alpha = np.array([[0, 128, 255], [255, 1, 0]], np.uint8)
    options = dict(lossless=True, exact=True) if kind == "WEBP" else {}
    assert np.array_equal(pixels(encoded(Image.fromarray(np.dstack([COLOURS, alpha])), kind, **options)), COLOURS)
    if kind != "WEBP":
        grey = encoded(Image.fromarray(np.dstack([GREYS, alpha])), kind)
        assert np.array_equal(pixels(grey), np.stack([GREYS] * 3, -1))


@pytest.mark.parametrize(
    ("kind", "transparency"),
    [("PNG", None), ("PNG", 1), ("PNG", b"\x00\x80\xff"), ("GIF", None), ("GIF", 1), ("TIFF", None), ("BMP", None)],
)
def test_palettes(kind, transparency):
    image = Image.new("P", (3, 2))
    image.putdata([0, 1, 2, 2, 1, 0])
    image.putpalette([10, 20, 30, 200, 100, 0, 0, 250, 5])
    palette = np.array([[10, 20, 30], [200, 100, 0], [0, 250, 5]], np.uint8)
    options = {} if transparency is None else dict(transparency=transparency)
    assert np.array_equal(pixels(encoded(image, kind, **options)), palette[[[0, 1, 2], [2, 1, 0]]])


RAMP = np.linspace(0, 65535, 1024).astype(np.uint16).reshape(16, 64)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_a_ramp_of_sixteen_bits_keeps_its_grey_levels(kind, figure):
    found = pixels(encoded(Image.fromarray(RAMP), kind))
    figure(f"{kind}: {len(np.unique(found))} grey levels of a ramp of 16 bits")
    assert len(np.unique(found)) == 256
    assert np.array_equal(found, np.stack([RAMP // 256] * 3, -1))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_every_kind_of_png_of_sixteen_bits(colour_type, channels):
    rows = np.stack([np.roll(RAMP, shift, axis=1) for shift in range(channels)], -1)
    expected = (rows[..., :3] if channels > 2 else rows[..., [0, 0, 0]]) // 256
    assert np.array_equal(pixels(png(rows, colour_type)), expected)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)), "its pixels are floats"),
        (Image.fromarray(np.array([[0, 70000]], np.int32)), "its pixels are 0 to 70000"),
        (Image.fromarray(np.array([[-5, 7]], np.int32)), "its pixels are -5 to 7"),
    ],
)
def test_pixels_without_a_known_range_are_refused(image, reason):
    with pytest.raises(UserError, match=f"photos/1.jpg cannot be read as an image: .*{reason}.*Mend or remove it"):
        pixels(encoded(image, "TIFF"))


def stored(upright: np.ndarray) -> dict[int, np.ndarray]:
    """How an image is stored for each orientation: what side of it the first row is, and the first column
    (CIPA DC-008, tag 0x0112)."""
    turned = upright.swapaxes(0, 1)  # the first row is the left side, the first column the top
    return {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: turned,  # left, top
        6: turned[::-1],  # right, top
        7: turned[::-1, ::-1],  # right, bottom
        8: turned[:, ::-1],  # left, bottom
    }


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[8:, 16:] = (200, 40, 0), (0, 90, 250)  # no symmetry
    options = dict(lossless=True) if kind == "WEBP" else dict(quality=100, subsampling=0) if kind == "JPEG" else {}
    found = pixels(encoded(Image.fromarray(stored(upright)[orientation].copy()), kind, exif=exif, **options))
    np.testing.assert_allclose(found.astype(int), upright, atol=4 if kind == "JPEG" else 0)


def test_orientation_of_sixteen_bits():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(stored(RAMP)[6].copy()), "PNG", exif=exif)
    assert np.array_equal(pixels(data)[..., 1], RAMP // 256)


@pytest.mark.parametrize("content", [b"II*\0\xff\xff\xff\xff", b"nonsense", b"MM\0*\0\0\0\x08\0\x09\x01"])
def test_damaged_exif_data_leaves_the_image_as_it_is(content, recwarn):
    assert np.array_equal(pixels(encoded(Image.fromarray(COLOURS), "PNG", exif=b"Exif\0\0" + content)), COLOURS)
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(kind):
    first, second = Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)
    options = dict(lossless=True) if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert np.array_equal(pixels(data), COLOURS)


def test_postscript_is_no_image_and_nothing_runs_for_it(working_directory, monkeypatch):
    """Pillow would start Ghostscript for it, whatever the file is called."""
    program = working_directory / "gs"
    program.write_text(f"#!/bin/sh\ntouch {working_directory}/ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(working_directory), prepend=os.pathsep)
    data = encoded(Image.new("RGB", (4, 4)), "EPS")
    with pytest.raises(UserError, match=r"photos/1\.jpg cannot be read as an image: it is none of JPEG, PNG"):
        pixels(data)
    assert not (working_directory / "ran").exists()


def test_class_folders_have_every_format_that_is_read():
    for name in ("1.gif", "2.jfif", "3.WebP", "4.webp", "5.jp2", "6.txt"):
        Path("pets/cat").mkdir(parents=True, exist_ok=True)
        Path("pets/cat", name).touch()
    assert [file.name for file in ImageFolder("pets").files] == ["1.gif", "2.jfif", "3.WebP", "4.webp"]
