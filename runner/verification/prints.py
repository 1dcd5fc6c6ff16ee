"""The state of a run as a fingerprint of each of its entries, so that many steps can be compared and none be kept."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...hooks.recorder import Recorder

if TYPE_CHECKING:
    from ..runner import Runner

Entry = tuple[str, Any]
Prints = dict[str, str]

# Of the state, what says which run it is and not how far it has come.
_DESCRIBES = ("config", "name")
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_LONGEST = 60  # characters of a plain value that is its own fingerprint
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def entries(value: Any, path: str = "") -> Iterator[Entry]:
    """The tensors and plain values in nested dicts and lists, by dotted path. A list of plain values is one entry."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from entries(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and not all(isinstance(item, _PLAIN) for item in value):
        for number, item in enumerate(value):
            yield from entries(item, f"{path}.{number}")
    else:
        yield path, value


def state_of(runner: Runner) -> Iterator[Entry]:
    """All that a checkpoint of this moment would hold, in the order in which one thing leads to another.

    Without what recorders have yet to write down: whether they come before the Checkpoint in a step or after it, they
    make good for it when the run goes on.
    """
    state = {key: value for key, value in runner.state_dict().items() if key not in _DESCRIBES}
    recorders = [name for name, hook in runner.hooks.by_name.items() if isinstance(hook, Recorder)]
    state["hooks"] = {name: value for name, value in state["hooks"].items() if name not in recorders}
    first = ("model", "loss", "optimizer", "scaler", "hooks")
    return entries({key: state[key] for key in (*first, *(key for key in state if key not in first))})


def outside_of(runner: Runner) -> Iterator[Entry]:
    """What hooks, model, loss, transforms, data set and sampler keep in attributes, where no checkpoint looks: plain
    values, arrays, generators. Not those of hooks that only record."""
    owners: dict[str, Any] = {
        f"hooks.{name}": hook for name, hook in runner.hooks.by_name.items() if not hook.only_records
    }
    for part, module in (("model", runner.model), ("loss", runner.loss_function)):
        owners |= {f"{part}.{name}".rstrip("."): each for name, each in module.named_modules()}
    owners["train.dataset"], owners["train.sampler"] = runner.train_loader.dataset, runner.train_loader.sampler
    owners |= {f"train.transforms: {type(each).__name__}": each for each in runner.train_loader.transforms}
    for path, owner in owners.items():
        for name, value in _attributes(owner).items():
            if _may_be_a_state(value):
                yield f"{path}.{name}", value


def _attributes(owner: Any) -> dict[str, Any]:
    """Those of the object, and those of its class that are none of a library's."""
    own = {name: value for name, value in vars(type(owner)).items() if not name.startswith("__")}
    return {name: value for name, value in {**own, **getattr(owner, "__dict__", {})}.items()
            if name not in _OF_EVERY_MODULE}  # fmt: skip


def _may_be_a_state(value: Any) -> bool:
    if isinstance(value, (Tensor, np.ndarray)):
        return value.size < 10_000 if isinstance(value, np.ndarray) else value.numel() < 10_000
    return isinstance(value, (*_PLAIN, np.number, torch.Generator, np.random.Generator, random.Random))


def prints(found: Iterable[Entry]) -> Prints:
    """The fingerprint of each entry."""
    return {path: fingerprint(value) for path, value in found}


def fingerprint(value: Any) -> str:
    """What two values share if and only if all their bits are equal. That of a short plain value can be read."""
    if isinstance(value, torch.Generator):
        return "generator " + fingerprint(value.get_state())
    if isinstance(value, np.random.Generator):
        return "generator " + _hash(repr(value.bit_generator.state).encode())
    if isinstance(value, random.Random):
        return "generator " + _hash(repr(value.getstate()).encode())
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        numbers = plain.reshape(-1).view(torch.uint8).numpy() if plain.numel() else b""
        return _hash(f"{plain.dtype} {tuple(plain.shape)}".encode(), numbers)
    text = repr(value)
    return text if len(text) <= _LONGEST else _hash(text.encode())


def _hash(*parts: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return "#" + digest.hexdigest()


def is_readable(print_: str) -> bool:
    return not print_.startswith(("#", "generator "))


def how_different(one: Tensor, other: Tensor) -> str:
    """ "12 of 640 numbers differ, the largest by 3e-08"."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{_kind(one)} without, {_kind(other)} with the interruption"
    differ = (one != other) & ~(one.isnan() & other.isnan())
    count = f"{int(differ.sum()):,} of {one.numel():,} numbers differ"
    if not differ.any():
        return "the numbers are equal, their bits are not: 0 and -0"
    distances = (one.double() - other.double())[differ].abs()
    return f"{count}, the largest by {float(distances.max()):.1g}"


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
