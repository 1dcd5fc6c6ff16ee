"""Plain values against type annotations."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
import torch

from knoll.registry.fit import AtLeast, Misfit, fit


class Colour(Enum):
    RED = "red"


FITS = [
    (3, int, 3),
    (3, float, 3),
    (True, bool, True),
    ("x", str, "x"),
    (None, Optional[int], None),  # noqa: UP045
    (3, Union[str, int], 3),  # noqa: UP007
    ([1, 2], tuple[int, int], (1, 2)),
    ([1, 2, 3], tuple[int, ...], (1, 2, 3)),
    ([1, 2], Sequence[int], [1, 2]),
    ({"a": 1}, dict[str, int], {"a": 1}),
    ("red", Colour, Colour.RED),
    ("RED", Colour, Colour.RED),
    ("a/b", Path, Path("a/b")),
    ("float32", torch.dtype, torch.float32),
    ("max", Literal["max", "min"], "max"),
    (2, Annotated[int, AtLeast(1)], 2),
    (object, Any, object),
]


@pytest.mark.parametrize(("value", "annotation", "expected"), FITS)
def test_fits(value, annotation, expected):
    assert fit(value, annotation) == expected
    assert type(fit(value, annotation)) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (True, int, "a whole number"),
        (1.0, int, "a whole number"),
        ("3", int, "a whole number"),
        (True, float, "a number"),
        (1, bool, "true or false"),
        ("ab", Sequence[int], "a list"),
        ([1], tuple[int, int], "a list of 2 values"),
        ([1, "x"], tuple[int, int], "a whole number"),
        ("blue", Colour, "one of 'red'"),
        ("float33", torch.dtype, "the name of a torch dtype, such as 'float32'"),
        ("mxa", Literal["max", "min"], "one of 'max', 'min'"),
        ("x", int | None, "a whole number or None"),
        (0, Annotated[int, AtLeast(1)], "at least 1"),
        (3, dict, "a dict"),
    ],
)
def test_misfits_say_what_was_expected(value, annotation, expected):
    with pytest.raises(Misfit) as misfit:
        fit(value, annotation)
    assert str(misfit.value) == expected


def test_a_list_becomes_a_tensor_where_one_is_wanted():
    assert torch.equal(fit([1.0, 2.0], torch.Tensor | None), torch.tensor([1.0, 2.0]))
