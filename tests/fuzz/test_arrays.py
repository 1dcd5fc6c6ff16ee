"""Files of arrays and packed files, spoilt in all ways, and arrays of every kind: what was written, or a refusal."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from knoll.datasets.layouts.array_file import ArrayFile
from knoll.datasets.layouts.list_file import ListFile
from knoll.datasets.layouts.packed import Packed, pack


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npz_packed(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


IMAGES, LABELS = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4), np.arange(6) % 3


@pytest.mark.row(29)
def test_a_spoilt_file_of_arrays(fuzz, spoilt, attempt, figure):
    arrays = dict(train_images=IMAGES, train_labels=LABELS)

    def outcome(data: bytes) -> str:
        Path("arrays.npz").write_bytes(data)
        found: list[ArrayFile] = []
        said = attempt(lambda: found.append(ArrayFile("arrays.npz")))
        if found:
            # A zip has a checksum of each array: what is read is what was written, unless it says other labels' shape.
            assert np.array_equal(found[0].images, IMAGES)
            assert found[0].labels == LABELS.tolist()
        return said

    seen = fuzz(1000, spoilt([npz(**arrays), npz_packed(**arrays)]), outcome)
    figure(f"{seen.total():,} spoilt .npz: {seen['refused']:,} refused, {seen['taken']:,} read as they were")
    assert seen["refused"] > 300


ODD_ARRAYS: list[Callable[[], Any]] = [
    *[
        lambda: np.array([None, 1], object),
        lambda: np.array(["a", "b"]),
        lambda: np.zeros(6, complex),
        lambda: np.zeros(()),
    ],
    *[
        lambda: np.full(6, np.nan),
        lambda: np.full(6, -1),
        lambda: np.full(6, 2**63, np.uint64),
        lambda: np.zeros(0, int),
    ],
    *[lambda: np.zeros((6, 0)), lambda: np.zeros((6, 1, 1), int), lambda: np.zeros((6, 2)), lambda: np.zeros(6, bool)],
    *[
        lambda: np.zeros(6, "datetime64[s]"),
        lambda: np.zeros(6, [("a", int)]),
        lambda: np.zeros(5, int),
        lambda: LABELS[:, None],
    ],
    *[lambda: np.zeros((6, 4, 4, 3), np.uint8), lambda: np.zeros((6, 4, 4, 1), np.uint8), lambda: IMAGES.astype(float)],
    *[lambda: np.zeros((6, 0, 4), np.uint8), lambda: np.zeros((0, 4, 4), np.uint8), lambda: np.asfortranarray(IMAGES)],
    *[
        lambda: IMAGES,
        lambda: LABELS,
        lambda: LABELS.astype(">i4"),
        lambda: LABELS.astype(np.int8),
        lambda: b"x",
        lambda: "x",
    ],
]
ARRAYS = st.builds(lambda number: ODD_ARRAYS[number](), st.integers(0, len(ODD_ARRAYS) - 1))


@pytest.mark.row(29)
def test_arrays_of_any_kind(fuzz, attempt, figure):
    def read(arrays: dict) -> None:
        if arrays.pop("mapped"):
            folder = Path("mapped")
            folder.mkdir(exist_ok=True)
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", array)
            found = ArrayFile("mapped")
        else:
            Path("odd.npz").write_bytes(npz(**arrays))
            found = ArrayFile("odd.npz")
        assert len(found.labels) == len(found.images)
        assert found.images.dtype == np.uint8
        found[0]
        found.gather(np.arange(len(found)))

    kinds = st.fixed_dictionaries(
        dict(mapped=st.booleans(), train_images=ARRAYS | st.just(IMAGES), train_labels=ARRAYS),
        optional=dict(val_labels=ARRAYS, x=ARRAYS),
    )
    seen = fuzz(800, kinds, lambda arrays: attempt(read, arrays))
    figure(f"{seen.total():,} files of arrays of any kind: {seen['refused']:,} refused, 0 tracebacks")
    assert seen["taken"] > 50
    assert seen["refused"] > 200


@pytest.mark.row(29)
def test_a_spoilt_packed_file(fuzz, spoilt, attempt, figure):
    for number in range(6):
        Image.new("RGB", (5, 4), (number, 0, 0)).save(f"{number}.png")
    Path("list.csv").write_text("image,label\n" + "".join(f"{number}.png,{number % 3}\n" for number in range(6)))
    pack(ListFile("list.csv"), Path("x.packed"), 4, "ants and bees")
    whole, told = Path("x.packed").read_bytes(), Packed("x.packed")

    def read(data: bytes) -> None:
        Path("spoilt.packed").write_bytes(data)
        found = Packed("spoilt.packed")
        for index in range(len(found)):
            found[index], found.name(index)
        if data[24:32] == whole[24:32]:  # else the digest itself was struck out, as in a file of an older version
            assert (found.labels, found.names, found.classes) == (told.labels, told.names, told.classes)

    seen = fuzz(1000, spoilt([whole]), lambda data: attempt(read, data))
    figure(f"{seen.total():,} spoilt packed files: {seen['refused']:,} refused, 0 tracebacks")
    assert seen["refused"] > 200
