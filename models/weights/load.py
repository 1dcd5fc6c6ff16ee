"""load_weights: from a source to a model, with a report of what went where."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ...registry import UserError, Weights
from .fetch import find_file
from .match import Match, drop, match, rename
from .read import Found, read_weights, unwrap


def load_weights(
    model: nn.Module, source: str | Path | Weights | Mapping[str, Tensor], classes: Sequence[str] = ()
) -> list[str]:
    """Copy weights into `model`; it is left as it was if they do not fit.

    Args:
        source: a file or what else `Weights.source` takes; all settings of `Weights`; or a state dict.
        classes: names of the data's classes. One of our checkpoints with as many others gives no last layer: it tells
            other things apart.

    Returns:
        the report, by lines: how many tensors were matched, what was made anew, what is missing or left over.

    Raises:
        UserError: the file cannot be had, read or trusted, or too little of it fits. Says what to do.
    """
    settings = (
        source if isinstance(source, Weights) else Weights(source="" if isinstance(source, Mapping) else str(source))
    )
    if isinstance(source, Mapping):
        name, found, verified = "the state dict", unwrap(source, "the state dict"), ""
    else:
        path, verified = find_file(settings.source, settings.sha256)
        name, found = str(path), read_weights(path, settings.entry)

    other_classes = bool(found.classes and classes) and found.classes != list(classes)
    matched = match(model, _prepared(model, found, settings), remake_head=other_classes)
    details = _details(model, matched, found)
    if min(matched.share, matched.used) < settings.least:
        raise UserError(_refusal(matched, name, model, settings.least) + "".join(f"\n  {line}" for line in details))
    placed: Any = OrderedDict(matched.placed)
    placed._metadata = model.state_dict()._metadata  # pyright: ignore  # the layers' versions, which MNASNet asks for
    model.load_state_dict(placed, strict=False)
    if other_classes:
        details.append(f"the file's classes are others: {', '.join(found.classes[:8])}")
    head = f"weights: {name}" + (f" ({verified})" if verified else "")
    return [head, f"  matched {len(matched.placed)} of {matched.total} tensors", *(f"  {line}" for line in details)]


def _prepared(model: nn.Module, found: Found, settings: Weights) -> dict[str, Tensor]:
    """The file's tensors with the names that the config gives them, and as timm's model of that kind wants them."""
    tensors, without_effect = drop(found.tensors, settings.drop)
    if without_effect:
        raise UserError(f"weights.drop: `{without_effect[0]}` matches none of the file's {len(tensors)} tensors")
    tensors, without_effect = rename(tensors, settings.rename)
    if without_effect:
        first = next(iter(tensors), "")
        raise UserError(
            f"weights.rename: no name in the file begins with `{without_effect[0]}`; the first is `{first}`"
        )
    return _as_timm_would(tensors, getattr(model, "backbone", model))


def _as_timm_would(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """What timm does to a file for a model of its own: names of other code bases, positions for other image sizes."""
    module = type(model).__module__
    convert = getattr(sys.modules.get(module), "checkpoint_filter_fn", None) if module.startswith("timm.") else None
    if convert is None or any(name.startswith("backbone.") for name in tensors):
        return tensors
    try:
        return convert(dict(tensors), model)
    except Exception:  # a file of something else; what does not fit is said where the two are compared
        return tensors


def _refusal(matched: Match, name: str, model: nn.Module, least: float) -> str:
    what = type(getattr(model, "backbone", model)).__name__
    if matched.share < least:
        fits = f"of the {matched.expected} tensors before the head it fills {matched.filled} ({matched.share:.0%})"
    else:
        count = len(matched.left_over)
        fits = f"{count} of its {len(matched.taken_from) + count} tensors have no place in the model"
    return (
        f"{name} does not fit {what}: {fits}; weights.least asks for {least:.0%}. It is of another architecture, of "
        "the same one with other options, or its names differ (weights.rename)."
    )


def _details(model: nn.Module, matched: Match, found: Found) -> list[str]:
    lines = [f"made anew: {layer} ({_sizes(was, now)})" for layer, (was, now) in matched.remade.items()]
    lines += _few("made anew, for the file has none", _layers(matched.fresh))
    lines += [f"of {there} input channels, made to fit: {key}" for key, there in matched.adapted.items()]
    renamed = {
        key: name for key, name in matched.taken_from.items() if key in matched.placed and not _ends_alike(key, name)
    }
    lines += _few("by its width", [f"{name} -> {key}" for key, name in renamed.items()])
    own = model.state_dict()
    shapes = [f"{key} {there}, in the model {tuple(own[key].shape)}" for key, there in matched.other_shape.items()]
    lines += _few("of another shape", shapes)
    missing = [f"{key} (the file has `{matched.near[key]}`)" if key in matched.near else key for key in matched.missing]
    lines += _few("missing in the file", missing)
    lines += _few("in the file, but not in the model", matched.left_over)
    return lines + found.notes


def _sizes(was: int, now: int) -> str:
    return f"{was} -> {now}" if was != now else f"{now} other classes"


def _ends_alike(key: str, name: str) -> bool:
    return key.endswith(name) or name.endswith(key) or key.split(".")[-2:] == name.split(".")[-2:]


def _layers(keys: Iterable[str]) -> list[str]:
    """Names of layers in the place of those of their weights and biases."""
    return list(dict.fromkeys(key.rpartition(".")[0] for key in keys))


def _few(what: str, items: list[str], most: int = 4) -> list[str]:
    """A line with the first few of a list, or none."""
    if not items:
        return []
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return [f"{what}: {', '.join(items[:most])}{more}"]
