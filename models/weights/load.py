"""load_weights: from a source to a model, with a report of what went where."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...registry import UserError, Weights
from .fetch import find_file
from .match import Match, bare_name, drop, match, rename
from .read import read_weights, unwrap
from .report import describe, refusal


@dataclass(frozen=True)
class Loaded:
    """What came of loading weights.

    Attributes:
        lines: the report: how many tensors were matched, what was made anew, what is missing or left over.
        unfilled: the model's tensors that are as they were made, for the file has none that fit.
        classes: names of the classes that the file's last layer tells apart, if it says so.
    """

    lines: list[str]
    unfilled: list[str]
    classes: list[str]


def load_weights(
    model: nn.Module, source: str | Path | Weights | Mapping[str, Tensor], classes: Sequence[str] = ()
) -> Loaded:
    """Copy weights into `model`; it is left as it was if they do not fit.

    Args:
        source: a file or what else `Weights.source` takes; all settings of `Weights`; or a state dict.
        classes: names of the data's classes. One of our checkpoints with as many others gives no last layer: it tells
            other things apart.

    Raises:
        UserError: the file cannot be had, read or trusted, or too little of it fits. Says what to do.
    """
    if isinstance(source, Mapping):
        settings, name, verified = Weights(""), "the state dict", ""
        found = unwrap(source, name)
    else:
        settings = source if isinstance(source, Weights) else Weights(str(source))
        path, verified = find_file(settings.source, settings.sha256)
        found = read_weights(path, settings.entry)
        name = str(path) if str(path) == settings.source else f"{settings.source}, kept as {path}"

    tensors, converted = _as_timm_would(_chosen(found.tensors, settings), getattr(model, "backbone", model))
    other_classes = bool(found.classes and classes) and found.classes != list(classes)
    matched = match(model, tensors, remake_head=other_classes)
    own = model.state_dict()
    details = [*converted, *describe(matched, own), *found.notes]
    if min(matched.share, matched.used) < settings.least:
        raise UserError(refusal(matched, name, model, settings.least) + "".join(f"\n  {line}" for line in details))
    details += _require_numbers(matched, own, name)
    if other_classes:
        details.append(f"the file's classes are others: {', '.join(found.classes[:8])}")

    placed: Any = OrderedDict(matched.placed)
    placed._metadata = own._metadata  # pyright: ignore  # the layers' versions, which MNASNet asks for
    model.load_state_dict(placed, strict=False)
    lines = [
        f"weights: {name}" + (f" ({verified})" if verified else ""),
        f"  matched {len(matched.placed)} of {matched.total} tensors",
        *(f"  {line}" for line in details),
    ]
    return Loaded(lines, matched.unfilled, found.classes)


def _chosen(tensors: Mapping[str, Tensor], settings: Weights) -> dict[str, Tensor]:
    """The file's tensors without those that the config drops, under the names that it gives them."""
    kept, without_effect = drop(tensors, settings.drop)
    if without_effect:
        raise UserError(f"weights.drop: `{without_effect[0]}` matches none of the file's {len(kept)} tensors")
    renamed, without_effect = rename(kept, settings.rename)
    if without_effect:
        first = next(iter(renamed), "")
        raise UserError(
            f"weights.rename: no name in the file begins with `{without_effect[0]}`; the first is `{first}`"
        )
    return renamed


def _as_timm_would(tensors: dict[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """What timm does to a file for a model of its own: names of other code bases, positions for other image sizes.

    Returns:
        the tensors, and a line for those that have another shape now.
    """
    module = type(model).__module__
    convert = getattr(sys.modules.get(module), "checkpoint_filter_fn", None) if module.startswith("timm.") else None
    bare = {bare_name(name): tensor for name, tensor in tensors.items()}
    if convert is None or len(bare) < len(tensors):
        return tensors, []
    try:
        converted = convert(dict(bare), model)
    except Exception:  # a file of something else; what does not fit is said where the two are compared
        return tensors, []
    resized = [
        f"{name} {tuple(bare[name].shape)} -> {tuple(tensor.shape)}"
        for name, tensor in converted.items()
        if name in bare and tensor.shape != bare[name].shape
    ]
    return converted, [f"resized by timm: {', '.join(resized)}"] if resized else []


def _require_numbers(matched: Match, own: Mapping[str, Tensor], name: str) -> list[str]:
    """Refuse what would become weights only by a cast that changes its meaning; a line where precision differs."""
    others: dict[str, int] = {}
    for key, tensor in matched.placed.items():
        if not own[key].is_floating_point():
            continue
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{name}: `{matched.taken_from[key]}` is {kind}: quantised weights cannot be trained on")
        if not torch.isfinite(tensor).all():
            raise UserError(f"{name}: `{matched.taken_from[key]}` holds values that are not finite")
        if tensor.dtype != own[key].dtype:
            kind = str(tensor.dtype).removeprefix("torch.")
            others[kind] = others.get(kind, 0) + 1
    return [f"{count} tensors are {kind} in the file" for kind, count in others.items()]
