"""Of what kind each part of a checkpoint is: what is whole and verified may still be of another program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from ...registry import UserError
from ...registry.errors import in_short
from ...registry.fit import AtLeast, Misfit, fit
from ...registry.signature import describe

_Count = Annotated[int, AtLeast(0)]
_EXTRA = "_extra_state"  # of a module's `get_extra_state`: anything plain
KINDS: dict[str, Any] = dict(
    step=_Count,
    epoch=_Count,
    left=list[str],
    model=dict[str, Tensor],
    loss=dict,
    optimizer=dict,
    scaler=dict,
    hooks=dict,
    random=dict,
    metrics=dict[str, float],
    evaluated_at=int,
    config=dict,
    name=str,
    sources=dict[str, str],
    choices=dict[str, str],
    samples=_Count,
    labels=str,
    classes=list[str],
    num_classes=_Count,
    computed_with=dict,
    world_size=Annotated[int, AtLeast(1)],
)


def require_kinds(state: Mapping[str, Any], path: Path) -> None:
    """Each part of a state that was read from a file must be of its kind: the file may be of another program.

    Raises:
        UserError: one is not; names it.
    """
    for key in [each for each in KINDS if each in state]:
        kind, value = KINDS[key], state[key]
        try:
            if kind == dict[str, Tensor] and isinstance(value, dict):
                other = [name for name, each in value.items() if not isinstance(each, Tensor)]
                if other := [name for name in other if not name.endswith(_EXTRA)]:
                    raise Misfit(f"tensors, not {describe(value[other[0]])} at {other[0]!r}")
            else:
                fit(value, kind)
        except Misfit as misfit:
            raise UserError(
                f"{path} is not a checkpoint of a run: under `{key}` it holds {describe(value)}; expected {misfit}"
            ) from misfit


@contextmanager
def fitting(path: str | Path) -> Iterator[None]:
    """Around putting a state from a file to use: what does not fit becomes an error that names the file.

    Raises:
        UserError: something in the state is not what the run has or can take.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # torch, numpy and hooks each raise what they like of a state that is not theirs
        raise UserError(
            f"the state in {path} does not fit this run: {in_short(error)} (--debug shows where)"
        ) from error
