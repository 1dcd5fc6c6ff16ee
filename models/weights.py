"""Loading weights into a model: every tensor of the file must have its place, and every place its tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..registry import UserError

# torchvision's models are not divided into backbone and head: its `layer1.0.conv1.weight` is our
# `backbone.layer1.0.conv1.weight`, and its `fc.weight` our `head.fc.weight`.
PREFIXES = ("", "backbone.", "head.")


def load_weights(model: nn.Module, source: str | Path | Mapping[str, Tensor]) -> None:
    """Copy a state dict into `model`; the model is left as it was if the two do not fit.

    Args:
        source: a state dict, or a file that holds one: `.safetensors`, or anything else as written by `torch.save`,
            also under the key "state_dict" or "model" of a checkpoint. Names are the model's own or torchvision's.

    Raises:
        UserError: no such file, a file that cannot be read or holds something else, or any tensor that is missing,
            left over, or of another shape.
    """
    if isinstance(source, Mapping):
        origin, loaded = "the state dict", source
    else:
        origin, loaded = str(source), _read(Path(source))
    state = _unwrap(loaded, origin)

    own = model.state_dict()
    fitted: dict[str, Tensor] = {}
    left_over: list[str] = []
    for key, value in state.items():
        place = next((prefix + key for prefix in PREFIXES if prefix + key in own), None)
        if place is None or place in fitted:
            left_over.append(key)
        else:
            fitted[place] = value

    # torchvision's older files were written before batch normalisation counted its batches; nothing depends on that.
    missing = [key for key in own if key not in fitted and not key.endswith("num_batches_tracked")]
    other_shape = [
        f"{key}: {tuple(value.shape)}, in the model {tuple(own[key].shape)}"
        for key, value in fitted.items()
        if value.shape != own[key].shape
    ]
    if missing or left_over or other_shape:
        raise UserError(
            f"{origin} does not fit {type(model).__name__}:"
            + _few("missing", missing)
            + _few("not in the model", left_over)
            + _few("of another shape", other_shape)
            + "\nThe architecture, its options and the number of classes must be those the weights were made with."
        )
    model.load_state_dict(fitted)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"weights: there is no file {path.absolute()}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        if "Unsupported global" in str(error) or "TorchScript" in str(error):
            raise UserError(
                f"{path} holds a whole model or other objects, not only tensors: unpickling such can run any code, so "
                "it is refused. Where it was made, save only the weights: torch.save(model.state_dict(), 'new.pth')"
            ) from error
        raise UserError(
            f"{path} cannot be read as weights: it is damaged, or neither torch.save nor safetensors wrote it "
            f"({type(error).__name__})"
        ) from error


def _unwrap(loaded: Any, origin: str) -> Mapping[str, Tensor]:
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise UserError(f"{origin} holds no state dict but a {type(loaded).__name__}")
    others = [str(key) for key, value in loaded.items() if not isinstance(value, Tensor)]
    if others:
        raise UserError(f"{origin} holds no state dict: there are no tensors, but other values{_few('under', others)}")
    return loaded


def _few(what: str, items: list[str], most: int = 3) -> str:
    """The first few of a list on a line of its own, or nothing."""
    if not items:
        return ""
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return f"\n  {what}: {', '.join(items[:most])}{more}"
