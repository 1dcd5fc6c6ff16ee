"""What loading did and did not do, in lines that a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from .match import Match, bare_name


def describe(matched: Match, own: Mapping[str, Tensor]) -> list[str]:
    """A line for each kind of tensor that was not simply copied.

    Args:
        own: the model's state dict.
    """
    lines = [f"made anew: {layer} ({_sizes(*shapes)})" for layer, shapes in matched.remade.items()]
    lines += _few("made anew, for the file has none", _layers(matched.fresh))
    lines += [f"of {there} input channels, made to fit: {key}" for key, there in matched.adapted.items()]
    found = [key for key in matched.by_width if key in matched.placed]
    lines += _few("by its width", [f"{matched.taken_from[key]} -> {key}" for key in found])
    shapes = [f"{key} {there}, in the model {tuple(own[key].shape)}" for key, there in matched.other_shape.items()]
    lines += _few("of another shape, so left as they were made", shapes)
    missing = [f"{key} (the file has `{matched.near[key]}`)" if key in matched.near else key for key in matched.missing]
    lines += _few("missing in the file, so left as they were made", missing)
    return lines + _few("in the file, but not in the model", matched.left_over)


def refusal(matched: Match, name: str, model: nn.Module, least: float) -> str:
    """Why a file does not fit."""
    what = type(getattr(model, "backbone", model)).__name__
    if matched.share >= least:
        count = len(matched.left_over)
        parts = list(dict.fromkeys(_part(key) for key in matched.left_over))
        return (
            f"{name} does not fit {what}: {count} of its {len(matched.taken_from) + count} tensors have no place in "
            f"the model; weights.least asks for {least:.0%}. It is of another architecture, or of a larger model of "
            f"which only a part is wanted: then leave out the rest, weights.drop={parts[:5]}."
        )
    return (
        f"{name} does not fit {what}: of the {matched.expected} tensors before the head it fills {matched.filled} "
        f"({matched.share:.0%}); weights.least asks for {least:.0%}. It is of another architecture, of the same one "
        "with other options, or its names differ (weights.rename)."
    )


def _part(name: str) -> str:
    """The part of a model that a tensor belongs to, with what wrappers put before it: `module.layer3`."""
    bare = bare_name(name)
    return name.removesuffix(bare) + bare.partition(".")[0]


def _sizes(was: tuple[int, ...], now: tuple[int, ...]) -> str:
    if was == now:
        return f"{now[0]} other classes"
    return f"{was[0]} -> {now[0]}" if was[1:] == now[1:] else f"{was} -> {now}"


def _layers(keys: Iterable[str]) -> list[str]:
    """Names of layers in the place of those of their weights and biases."""
    return list(dict.fromkeys(key.rpartition(".")[0] for key in keys))


def _few(what: str, items: list[str], most: int = 4) -> list[str]:
    """A line with the first few of a list, or none."""
    if not items:
        return []
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return [f"{what}: {', '.join(items[:most])}{more}"]
