"""The layers of a model, counted from the images to the logits, for learning rates that differ from layer to layer."""

from __future__ import annotations

from torch import nn

# Stands for everything beside the network, such as the head of an ImageClassifier.
_BESIDE = ""


def layer_of_each(model: nn.Module) -> dict[str, int]:
    """The layer of each parameter, by its name; 0 is next to the images.

    The layers are timm's where the network has a `group_matcher`, as nearly every network of timm has. The head is
    where timm puts its classifier: in the last layer, together with what no group of the network claims, such as
    ConvNeXt's last norm.

    Without a `group_matcher` the children of the backbone are the layers, in their order; of an nn.Sequential its own
    children are. Parameters of the backbone itself, such as position embeddings, belong to the first.
    """
    found = part_with(model, "group_matcher")
    if found:
        prefix, network = found
        layers = _by_matcher(network)
    else:
        backbone = getattr(model, "backbone", None)
        prefix, network = ("backbone.", backbone) if isinstance(backbone, nn.Module) else ("", model)
        layers = _by_children(network)
    return {
        name: layers[name.removeprefix(prefix) if name.startswith(prefix) else _BESIDE]
        for name, _ in model.named_parameters()
    }


def part_with(model: nn.Module, method: str) -> tuple[str, nn.Module] | None:
    """The prefix and the module of a network that has a method of timm's convention: the model itself, its backbone,
    or what one of them merely wraps; None if none of them has it."""
    prefix, part = "", model
    while not hasattr(part, method):
        children = dict(part.named_children())
        if "backbone" in children:
            name = "backbone"
        elif len(children) == 1 and not any(True for _ in part.parameters(recurse=False)):
            (name,) = children
        else:
            return None
        prefix, part = f"{prefix}{name}.", children[name]
    return prefix, part


def _by_matcher(network: nn.Module) -> dict[str, int]:
    from timm.models._manipulate import group_with_matcher

    names = [name for name, _ in network.named_parameters()]
    matcher = network.group_matcher(coarse=False)  # pyright: ignore[reportCallIssue]
    return group_with_matcher(((name, None) for name in (*names, _BESIDE)), matcher, reverse=True)  # pyright: ignore


def _by_children(network: nn.Module) -> dict[str, int]:
    from timm.models._manipulate import flatten_modules

    children = [
        (name, child)
        for name, child in flatten_modules(network.named_children())  # pyright: ignore[reportArgumentType]
        if any(True for _ in child.parameters())
    ]
    layers = {name: 0 for name, _ in network.named_parameters()}
    for number, (prefix, child) in enumerate(children):
        layers |= {f"{prefix}.{name}": number for name, _ in child.named_parameters()}
    return layers | {_BESIDE: len(children)}
