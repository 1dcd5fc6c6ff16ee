"""Reading weights from a file: plain tensors only, whatever they are wrapped in, and nothing in the file is run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...registry import UserError
from ...registry.names import did_you_mean
from ...registry.sealed import verify

# Where training scripts keep a model's weights in what they save; averaged ones are taken only if there are no others.
ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "model_ema", "state_dict_ema")


class _Ignored:
    """Stands in a file for an object that is not needed: takes anything, keeps nothing."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> _Ignored:
        return object.__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


def _stand_in(name: str) -> type[_Ignored]:
    module, _, own = (name if "." in name else f"builtins.{name}").rpartition(".")
    return type(own, (_Ignored,), {"__module__": module, "__qualname__": own})


# How torch names, in its refusal, what it does not unpickle.
_NOT_ALLOWED = re.compile(r"Unsupported (?:global|class)[^\n]*?GLOBAL (\S+)|Unsupported class (\S+)")
MOST_IGNORED = 50


class Found(NamedTuple):
    """The weights of a file, and what is known of them."""

    tensors: dict[str, Tensor]
    classes: list[str]  # of one of our checkpoints; else none
    notes: list[str]


def read_weights(path: Path, entry: str | None = None) -> Found:
    """The tensors of a file by name.

    Args:
        path: a `.safetensors`, or what `torch.save` wrote: a state dict, or a dict that holds one.
        entry: the key that the state dict stands under; one of ENTRIES is found without it.

    Raises:
        UserError: a file that is none of these, or damaged. Says which, and what to do.
    """
    if path.suffix in (".onnx", ".pt2"):
        raise UserError(
            f"{path} is a model exported to run elsewhere: take its checkpoint, or export it to .safetensors"
        )
    _refuse_what_is_no_weights(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    with open(path, "rb") as file:
        try:
            verify(file)  # files of others carry no SHA-256
        except ValueError as error:
            raise UserError(f"{path} cannot be used: {error}. Take another checkpoint of that run.") from error
    return unwrap(_load_torch(path), str(path), entry)


def _load_safetensors(path: Path) -> Found:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("knoll", "{}"))  # as our export writes it
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except Exception as error:  # a damaged file can raise anything
        raise _damaged(path, error) from error
    return Found(tensors, [str(name) for name in about.get("classes", [])], [])


def _load_torch(path: Path) -> Any:
    """What torch.save wrote, with nothing but tensors and plain values unpickled.

    Checkpoints of training scripts hold more: command lines, logs, figures as numpy numbers. Whatever a file names that
    is neither is replaced by an `_Ignored`; none of its code is looked up, let alone run.
    """
    ignored: list[Any] = []
    while True:
        try:
            with torch.serialization.safe_globals(ignored):
                loaded = torch.load(path, map_location="cpu", weights_only=True)
            break
        except Exception as error:  # a damaged file can raise anything
            found = _NOT_ALLOWED.search(str(error))
            name = (found[1] or found[2]) if found else ""
            known = [_name(each).removeprefix("builtins.") for each in ignored]
            if not name or name in known or len(known) == MOST_IGNORED:
                if "TorchScript" in str(error):
                    raise _not_only_tensors(path, "a TorchScript archive") from error
                if name or "is blocked" in str(error) or "Can only" in str(error):
                    raise _not_only_tensors(path, name or "containers or code that cannot be left out") from error
                raise _damaged(path, error) from error
            if not name.isprintable():  # no name that Python has
                raise _damaged(path, error) from error
            ignored.append(_stand_in(name))
    if isinstance(loaded, _Ignored):
        raise _not_only_tensors(path, f"a pickled {_name(type(loaded))}")
    return loaded


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _not_only_tensors(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} holds not only tensors but a whole model or other objects ({what}). Unpickling such can run any code, "
        "so it is refused. Where it was made, save the weights alone: torch.save(model.state_dict(), 'new.pth')"
    )


def _damaged(path: Path, error: Exception) -> UserError:
    size = path.stat().st_size
    return UserError(
        f"{path} cannot be read as weights: it is damaged or cut off ({size:,} bytes), or neither torch.save nor "
        f"safetensors wrote it ({type(error).__name__}). Fetch it again."
    )


def _refuse_what_is_no_weights(path: Path) -> None:
    """What is often saved in the place of weights by a download that went wrong."""
    with open(path, "rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UserError(
            f"{path} is a web page, not weights: the address leads to a page about the file, or to one that says no. "
            "Fetch it again with the address of the file itself (on GitHub, the one under 'raw')."
        )
    if start.startswith(b"version https://git-lfs"):
        raise UserError(f"{path} is a pointer of Git LFS, not weights: run `git lfs pull` where it was cloned.")


def unwrap(loaded: Any, origin: str, entry: str | None = None) -> Found:
    """The state dict in what a file holds.

    Raises:
        UserError: there is none; names what there is.
    """
    notes: list[str] = []
    classes: list[str] = []
    if isinstance(loaded, Mapping):
        names = loaded.get("classes")
        classes = [str(name) for name in names] if isinstance(names, (list, tuple)) else []
        holding = [key for key in loaded if isinstance(key, str) and isinstance(loaded[key], Mapping)]
        if entry is not None:
            if entry not in holding:
                raise UserError(
                    f"weights.entry: {origin} holds nothing called `{entry}`.{did_you_mean(entry, holding)}"
                )
            loaded = loaded[entry]
        elif found := [key for key in ENTRIES if key in holding]:
            loaded = loaded[found[0]]
            notes += [f"the file holds `{key}` too: weights.entry='{key}' takes that" for key in found[1:]]
    tensors = {str(key): value for key, value in loaded.items()} if isinstance(loaded, Mapping) else None
    if tensors is None:
        raise UserError(f"{origin} holds no state dict but a {type(loaded).__name__}")
    others = [key for key, value in tensors.items() if not isinstance(value, Tensor)]
    if not tensors or len(others) == len(tensors):
        there = f"other values, under {', '.join(others[:5])}" if others else "nothing"
        raise UserError(
            f"{origin} holds no state dict: there are no tensors, but {there}. weights.entry names its key."
        )
    if others:
        notes.append(f"left out, for they are no tensors: {', '.join(others[:5])}{', ...' if others[5:] else ''}")
    return Found({key: value for key, value in tensors.items() if key not in others}, classes, notes)
