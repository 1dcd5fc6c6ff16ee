"""Images that are damaged, no images at all, far too large, or of extreme shapes."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from knoll.datasets.layouts.image_folder import ImageFolder
from knoll.datasets.loading.decoding import decode
from knoll.datasets.loading.loader import EvaluationLoader, TrainLoader
from knoll.datasets.samplers import Shuffled
from knoll.datasets.transforms import build_transforms
from knoll.registry import UserError

TENSOR = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
TRAINING = [dict(type="RandomResizedCrop", size=224), dict(type="RandomHorizontalFlip"), *TENSOR]
EVALUATION = [dict(type="Resize", size=256), dict(type="CenterCrop", size=224), *TENSOR]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


Y, X = np.mgrid[:40, :56]
PICTURE = Image.fromarray(np.stack([4 * X, 6 * Y, X * Y % 256], -1).astype(np.uint8))
EXIF = Image.Exif()
EXIF[0x0112] = 6
FILES = {
    "jpeg": encoded(PICTURE, "JPEG", exif=EXIF),
    "progressive": encoded(PICTURE, "JPEG", progressive=True),
    "cmyk": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "png": encoded(PICTURE, "PNG", exif=EXIF),
    "png16": encoded(Image.fromarray((Y * 1600).astype(np.uint16)), "PNG"),
    "palette": encoded(PICTURE.quantize(16), "PNG", transparency=3),
    "gif": encoded(PICTURE.quantize(64), "GIF", save_all=True, append_images=[PICTURE.rotate(90).quantize(64)]),
    "webp": encoded(PICTURE, "WEBP", exif=EXIF),
    "lossless": encoded(PICTURE.convert("RGBA"), "WEBP", lossless=True),
    "tiff": encoded(PICTURE, "TIFF", exif=EXIF),
    "lzw": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "bmp": encoded(PICTURE, "BMP"),
    "ppm": encoded(PICTURE, "PPM"),
}


def spoil(data: bytes, draw: random.Random) -> bytes:
    """The bytes with a few of them flipped, overwritten, left out or put in, most often near the beginning."""
    spoilt = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        place = draw.randrange(min(len(spoilt), 200) if draw.random() < 0.5 else len(spoilt))
        how = draw.randrange(5)
        if how == 0:
            spoilt[place] ^= 1 << draw.randrange(8)
        elif how == 1:
            spoilt[place] = draw.choice([0, 1, 127, 128, 255])
        elif how == 2:
            spoilt[place : place + 4] = draw.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        elif how == 3:
            del spoilt[place : place + draw.randrange(1, 30)]
        else:
            spoilt[place:place] = draw.randbytes(draw.randrange(1, 9))
    return bytes(spoilt)


@pytest.mark.row(23)
@pytest.mark.parametrize("name", FILES)
def test_damage_of_any_kind_is_a_clean_error_or_an_image(name, figure):
    draw, seen = random.Random(0), Counter()
    for _ in range(600):
        data = spoil(FILES[name], draw)
        try:
            seen[decode(data, "photos/1.jpg").mode] += 1
        except UserError as error:  # anything else would end the test
            said = str(error)
            seen["refused" if said.startswith("photos/1.jpg ") and "\n" not in said else said] += 1
    figure(f"{name}: {seen.total()} spoilt files, {seen['refused']} refused, {seen['RGB']} decoded")
    assert seen["refused"] > 100
    assert set(seen) <= {"RGB", "refused"}


@pytest.mark.row(23)
@pytest.mark.parametrize("name", FILES)
def test_what_is_cut_off_is_refused_unless_every_pixel_is_there(name, figure):
    """At each length of the file, or at 500 of them."""
    data = FILES[name]
    whole = np.asarray(decode(data, "whole"))
    lengths, refused = range(0, len(data), max(1, len(data) // 500)), 0
    for length in lengths:
        try:
            left = decode(data[:length], "photos/1.jpg")
        except UserError:
            refused += 1
        else:
            assert np.array_equal(np.asarray(left), whole), f"cut at {length} of {len(data)} bytes"
    figure(f"{name}: {len(lengths)} lengths, {refused} refused, {len(lengths) - refused} with every pixel")
    assert refused > len(lengths) / 2


BAD = {
    b"": "the file is empty",
    b"this is text": "it is none of JPEG, PNG",
    b"<!DOCTYPE html><html>404</html>": "it is none of JPEG, PNG",
    FILES["bmp"][:600]: "image file is truncated",
}


@pytest.mark.row(23)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("content", "reason"), BAD.items(), ids=["empty", "text", "html", "truncated"])
def test_a_bad_file_among_good_ones_ends_the_reading_and_is_named(content, reason, workers):
    for number in range(6):
        file = Path("pets/cat", f"{number}.jpg")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if number == 4 else FILES["jpeg"])
    pets = ImageFolder("pets")
    transform = build_transforms([dict(type="Resize", size=[8, 8]), *TENSOR])
    options = dict(batch_size=2, num_workers=workers, seed=0)
    train = TrainLoader(pets, transform, Shuffled(pets, 0), drop_last=False, **options)
    for batches in (train.batches(0, 3), iter(EvaluationLoader(pets, transform, **options))):
        with pytest.raises(UserError) as error:
            list(batches)
        assert str(error.value).startswith(f"pets/cat/4.jpg cannot be read as an image: {reason}")
        assert "Traceback" not in str(error.value)


def png(width: int, height: int, more: bytes = b"") -> bytes:
    """A PNG of black pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    packer = zlib.compressobj(9)
    lines = b"".join(packer.compress(bytes(1 + width)) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    ancillary = chunk(more, b"key\0\0" + zlib.compress(bytes(100_000_000), 9)) if more else b""
    return b"\x89PNG\r\n\x1a\n" + header + ancillary + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def claiming(kind: str, width: int, height: int) -> bytes:
    """A small JPEG, GIF or WebP whose header says that it is large."""
    two = Image.new("RGB", (16, 16)), Image.new("RGB", (16, 16), "red")
    data = bytearray(encoded(two[0], kind, **({} if kind == "JPEG" else dict(save_all=True, append_images=two[1:]))))
    if kind == "JPEG":
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    else:
        data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


BOMBS = {
    "110 megapixels": lambda: png(11_000, 10_000),
    "400 megapixels": lambda: png(20_000, 20_000),
    "a text of 100 MB": lambda: png(16, 16, more=b"zTXt"),
    "a profile of 100 MB": lambda: png(16, 16, more=b"iCCP"),
    "a JPEG of 60000 x 60000": lambda: claiming("JPEG", 60_000, 60_000),
    "a GIF of 65535 x 65535": lambda: claiming("GIF", 65_535, 65_535),
    "a WebP of 16384 x 16384": lambda: claiming("WEBP", 16_384, 16_384),
}
# Memory is measured in a process of its own, for that of this one has been larger already; and not by `getrusage`,
# which tells a process what its parent took.
MEASURE = """
import json, pathlib, re, torch
from knoll.datasets.loading.decoding import decode
from knoll.datasets.layouts.image_folder import ImageFolder
from knoll.datasets.loading.loader import EvaluationLoader
from knoll.datasets.transforms import build_transforms
from knoll.registry import UserError

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) / 1024

def refusal(file):
    try:
        decode(file.read_bytes(), file.name)
    except UserError as error:
        return str(error)

decode(pathlib.Path("small.jpg").read_bytes(), "small.jpg")
before = peak()
result = {expression}
print(json.dumps([result, peak() - before]))
"""


def measured(expression: str) -> tuple[Any, float]:
    """What an expression gives, and by how many megabytes memory grows."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("no /proc here, which tells how much memory a process has taken")
    Path("small.jpg").write_bytes(FILES["jpeg"])
    code = MEASURE.replace("{expression}", expression)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))


@pytest.mark.row(25)
def test_bombs_are_refused_before_memory_is_taken_for_them(figure):
    for name, make in BOMBS.items():
        Path(f"{name}.bomb").write_bytes(make())
        assert Path(f"{name}.bomb").stat().st_size < 1_000_000
    said, growth = measured("{file.stem: refusal(file) for file in pathlib.Path().glob('*.bomb')}")
    figure(f"{len(said)} of {len(BOMBS)} bombs refused; memory grew by {growth:.0f} MB")
    assert set(said) == set(BOMBS)
    for name, message in said.items():
        why = "cannot be read as an image: Decompressed data too large" if "100 MB" in name else "is larger than 89"
        assert message.startswith(f"{name}.bomb {why}")
    assert growth < 200


@pytest.mark.row(26)
@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_extreme_shapes_become_finite_tensors(size, kind, figure):
    Path("pets/cat").mkdir(parents=True)
    for name in ("first", "second"):
        Image.new("RGB", size, (200, 100, 50)).save(f"pets/cat/{name}.{kind}")
    pets = ImageFolder("pets")
    assert pets[0][0].size == size
    options = dict(batch_size=2, num_workers=0, seed=0)
    train = TrainLoader(pets, build_transforms(TRAINING), Shuffled(pets, 0), drop_last=True, **options)
    [batch] = train.batches(0, 1)
    assert batch.images.shape == (2, 3, 224, 224)
    assert torch.isfinite(batch.images).all()
    finite = int(batch.images.isfinite().sum())
    figure(f"{size[0]} x {size[1]} as {kind}: {finite} of {batch.images.numel()} values finite")
    # One colour stays what it is, however it is cropped and resized; a JPEG may be 3 of 255 off.
    expected = (torch.tensor([200, 100, 50]) / 255).view(1, 3, 1, 1).expand(2, 3, 224, 224)
    torch.testing.assert_close(batch.images, expected, atol=3 / 255, rtol=0)


@pytest.mark.row(26)
@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
def test_an_extreme_shape_takes_no_extreme_memory_in_evaluation(size):
    """Brought to a shorter side of 256 before the crop, 20000 x 1 pixels would be an image of 4 GB."""
    Path("cat").mkdir()
    Image.new("RGB", size, (200, 100, 50)).save("cat/1.png")
    loader = f"EvaluationLoader(ImageFolder('.'), build_transforms({EVALUATION}), batch_size=1, num_workers=0, seed=0)"
    summary = "[list(batch.images.shape), batch.images.amin((0, 2, 3)).tolist(), batch.images.amax((0, 2, 3)).tolist()]"
    [[shape, least, most]], growth = measured(f"[{summary} for batch in {loader}]")
    assert shape == [1, 3, 224, 224]
    colour = pytest.approx([200 / 255, 100 / 255, 50 / 255], abs=1 / 255)
    assert least == colour
    assert most == colour
    assert growth < 200
