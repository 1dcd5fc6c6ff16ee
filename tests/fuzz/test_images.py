"""Images whose beginnings, dimensions and metadata are made up: one as a loader reads it, or a refusal by name.

Damage of every kind to whole files is in tests/datasets/loading/test_bad_images.py.
"""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import strategies as st
from PIL import Image

from knoll.datasets.loading.decoding import decode, formats
from knoll.datasets.loading.pictures import Encoded
from knoll.registry import UserError

# What the file of each format begins with.
MAGIC = {
    "JPEG": [
        b"\xff\xd8\xff\xe0",
        b"\xff\xd8\xff\xe1\0\x10Exif\0\0",
        b"\xff\xd8\xff\xc0\0\x11\x08",
        b"\xff\xd8\xff\xdb",
    ],
    "PNG": [b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"],
    "WEBP": [b"RIFF\x40\0\0\0WEBPVP8 ", b"RIFF\x40\0\0\0WEBPVP8L", b"RIFF\x40\0\0\0WEBPVP8X"],
    "GIF": [b"GIF89a", b"GIF87a\x10\0\x10\0\xf7\0\0"],
    "TIFF": [b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0"],
    "BMP": [b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", b"BM"],
    "PPM": [b"P6 4 4 255\n", b"P5\n# x\n4 4\n65535\n", b"P4 9 9\n", b"Pf 2 2 -1.0\n", b"P7\nWIDTH 2\n", b"Py"],
    "AVIF": [b"\0\0\0\x1cftypavif\0\0\0\0", b"\0\0\0\x1cftypavis"],
}
SIZES = [0, 1, 2, 255, 256, 4095, 65535, 2**31 - 1, 2**31, 2**32 - 1]


class One:
    """A data set of one image."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def encoded(self, index: int) -> bytes:
        return self.data

    def place(self, index: int) -> str:
        return "photos/1.jpg"


def outcome(data: bytes) -> str:
    """What a loader does with it: by its size first, or smaller, or whole; all must agree on whether it is an image."""
    said = set()
    for read in (
        lambda: decode(data, "photos/1.jpg").size,
        lambda: Encoded(One(data), 0).tensor.shape,  # pyright: ignore
        lambda: (Encoded(One(data), 0).size, Encoded(One(data), 0).reduced(2)),  # pyright: ignore
    ):
        try:
            read()
            said.add("an image")
        except UserError as error:
            said.add("refused" if str(error).startswith("photos/1.jpg ") else f"no place in {error}")
    return " or ".join(sorted(said))


@pytest.mark.row(23)
def test_a_beginning_of_each_format_and_then_anything(fuzz, figure):
    known = st.sampled_from([each for kind in formats() for each in MAGIC[kind]])
    chunks = st.lists(st.binary(max_size=40) | st.sampled_from(SIZES).map(lambda n: struct.pack(">I", n)), max_size=8)
    seen = fuzz(2000, st.builds(lambda start, rest: start + b"".join(rest), known, chunks), outcome)
    figure(f"{seen.total():,} made-up files of {len(formats())} formats: {seen['refused']:,} refused, 0 tracebacks")
    assert set(seen) <= {"refused", "an image", "an image or refused"}
    assert seen["refused"] > 1000


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    """Right checksums, anything in them: the header, the palette, colours, text, profiles, orientation, animation."""
    side = st.sampled_from(SIZES) | st.integers(1, 6)
    header = struct.pack(
        ">IIBBBBB",
        *draw(st.tuples(side, side)),
        draw(st.sampled_from([1, 2, 4, 8, 16, 3])),
        draw(st.sampled_from([0, 2, 3, 4, 6, 5])),
        *draw(st.tuples(*[st.sampled_from([0, 0, 0, 1, 255])] * 3)),
    )
    names = st.sampled_from(
        [b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"acTL", b"fcTL", b"pHYs"]
    )
    between = draw(st.lists(st.tuples(names, st.binary(max_size=60)), max_size=4))
    pixels = zlib.compress(draw(st.binary(max_size=300)) + bytes(draw(st.integers(0, 100))))
    parts = [(b"IHDR", header), *between, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in parts)


@pytest.mark.row(23)
def test_a_png_of_whole_chunks_with_anything_in_them(fuzz, figure):
    seen = fuzz(1000, pngs(), outcome)
    figure(f"{seen.total():,} PNGs of made-up chunks: {seen['refused']:,} refused, {seen['an image']:,} decoded")
    assert set(seen) <= {"refused", "an image"}
    assert seen["refused"] > 300


@pytest.mark.row(24)
def test_damaged_metadata_takes_no_image_away(fuzz, figure):
    """EXIF data and colour profiles with anything in them: the pixels are what they are without, perhaps turned."""
    picture = Image.effect_noise((16, 12), 90).convert("RGB")

    def shown(case: tuple[str, bytes, bytes]) -> str:
        kind, exif, profile = case
        file, bare = io.BytesIO(), io.BytesIO()
        picture.save(bare, kind, **({"lossless": True} if kind == "WEBP" else {}))
        try:
            lossless = {"lossless": True} if kind == "WEBP" else {}
            picture.save(file, kind, exif=b"Exif\0\0" + exif, icc_profile=profile, **lossless)
        except Exception:  # Pillow does not write it
            return "not written"
        found = decode(file.getvalue(), "x")
        plain = decode(bare.getvalue(), "x")
        turned = [plain, *(plain.transpose(method) for method in Image.Transpose)]
        assert any(found.size == each.size and found.tobytes() == each.tobytes() for each in turned)
        return "shown"

    start = st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1"])
    exif = st.builds(lambda first, rest: first + rest, start, st.binary(max_size=40))
    seen = fuzz(1000, st.tuples(st.sampled_from(["JPEG", "PNG", "WEBP"]), exif, st.binary(max_size=60)), shown)
    figure(f"{seen['shown']:,} images with damaged EXIF data and profiles: all shown, no pixel changed")
    assert seen["shown"] > 500
