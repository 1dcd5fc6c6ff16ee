"""Giving each tensor of a file its place in a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import Tensor, nn

from ...registry import UserError

# What wraps a model puts its own name before the names of its tensors: DataParallel, torch.compile, a training class.
# `backbone.` and `head.` are ours and mmpretrain's; models of timm and torchvision are not divided so.
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "head.")


# What models call their last layers, auxiliary ones included.
HEADS = ("fc", "linear", "classifier", "head", "heads", "last_linear", "aux1", "aux2", "AuxLogits", "head_dist")


@dataclass
class Match:
    """Which tensor of the file goes where.

    Attributes:
        placed: the model's name -> the tensor it gets.
        taken_from: the model's name -> the name in the file.
        by_width: those of the model's names whose tensor was found by its width.
        remade: last layers that the file has in another size, or for other classes: name -> shape there, shape here.
        fresh: tensors of the model's head that the file has not.
        missing: other tensors of the model that the file has not.
        other_shape: the model's name -> the shape in the file.
        adapted: the model's name -> input channels in the file.
        left_over: names in the file that have no place in the model.
        near: a missing name -> a name that is left over, alike and of the same shape.
        total: how many tensors there are to be filled.
        expected: how many of them outside the head.
        in_head: the model's names that belong to its head.
    """

    placed: dict[str, Tensor] = field(default_factory=dict)
    taken_from: dict[str, str] = field(default_factory=dict)
    by_width: list[str] = field(default_factory=list)
    remade: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    other_shape: dict[str, tuple[int, ...]] = field(default_factory=dict)
    adapted: dict[str, int] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)
    near: dict[str, str] = field(default_factory=dict)
    total: int = 0
    expected: int = 0
    in_head: set[str] = field(default_factory=set)

    @property
    def filled(self) -> int:
        """How many tensors outside the head come from the file."""
        return len([key for key in self.placed if key not in self.in_head])

    @property
    def share(self) -> float:
        """The part of the model, its head aside, that the file fills."""
        return self.filled / self.expected if self.expected else float(bool(self.placed))

    @property
    def used(self) -> float:
        """The part of the file that has a place in the model: ResNet-50 could be filled from a file of ResNet-101.

        A head that has no place does not count: the model has another.
        """
        unused = [name for name in self.left_over if not any(part in HEADS for part in bare_name(name).split(".")[:2])]
        return len(self.taken_from) / max(1, len(self.taken_from) + len(unused))

    @property
    def unfilled(self) -> list[str]:
        """The model's tensors that keep what they were made with."""
        remade = [key for key in self.in_head if key.rpartition(".")[0] in self.remade]
        return [*sorted(remade), *(key for key in self.fresh if key not in remade), *self.other_shape, *self.missing]


def match(model: nn.Module, tensors: Mapping[str, Tensor], remake_head: bool = False) -> Match:
    """Find a place in `model` for every tensor of a file.

    Names are compared as they are, without what wrappers put before them, and with the model's own parts before them:
    torchvision's `layer1.0.conv1.weight` is our `backbone.layer1.0.conv1.weight`, its `fc.weight` our `head.fc.weight`.
    A last layer of another name is known by its width; one of another number of classes is made anew.

    Args:
        remake_head: take no last layer from the file, even if it would fit.
    """
    own = model.state_dict()
    result = Match(in_head=_head_tensors(model, own))
    last = last_layers(model)
    _place_by_name(own, tensors, _parts(model), result)
    _place_last_layer(own, tensors, last, result)
    for key in list(result.placed):
        _fit_shape(key, own[key], last, remake_head, result)
    for key in [key for key in result.placed if key.rpartition(".")[0] in result.remade]:
        del result.placed[key]  # a bias belongs to its weight

    # Older files were written before batch normalisation counted its batches; nothing depends on that.
    counts = any(name.endswith("num_batches_tracked") for name in tensors)
    wanted = [key for key in own if counts or not key.endswith("num_batches_tracked")]
    result.total, result.expected = len(wanted), len([key for key in wanted if key not in result.in_head])
    absent = [key for key in wanted if key not in result.taken_from]
    result.fresh = [key for key in absent if key in result.in_head and key.rpartition(".")[0] not in result.remade]
    result.missing = [key for key in absent if key not in result.in_head]
    for key in result.missing:
        alike = {bare_name(name): name for name in result.left_over if tensors[name].shape == own[key].shape}
        if found := get_close_matches(bare_name(key), alike, n=1, cutoff=0.75):
            result.near[key] = alike[found[0]]
    return result


def rename(tensors: Mapping[str, Tensor], changes: Mapping[str, str]) -> tuple[dict[str, Tensor], list[str]]:
    """Replace beginnings of names; also returns those of `changes` that no name begins with.

    Raises:
        UserError: two names become one.
    """
    renamed = {}
    used = set()
    for name, tensor in tensors.items():
        for old, new in changes.items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
                used.add(old)
                break
        if name in renamed:
            raise UserError(f"weights.rename: two tensors of the file would be called `{name}`: weights.drop one")
        renamed[name] = tensor
    return renamed, [old for old in changes if old not in used]


def drop(tensors: Mapping[str, Tensor], patterns: Iterable[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Leave out names that a pattern matches, or that lie below one; also returns the patterns that match nothing."""
    kept, unused = dict(tensors), []
    for pattern in patterns:
        gone = [name for name in kept if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
        for name in gone:
            del kept[name]
        unused += [] if gone else [pattern]
    return kept, unused


def _place_by_name(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], parts: list[str], result: Match) -> None:
    for name, tensor in tensors.items():
        places = [part + bare for bare in _without_wrappers(name) for part in parts]
        place = next((place for place in places if place in own), None)
        if place is None or place in result.placed:
            result.left_over.append(name)
        else:
            result.placed[place] = tensor
            result.taken_from[place] = name


def _without_wrappers(name: str) -> list[str]:
    """The name, and what is left of it as one wrapper after another is taken off."""
    names = [name]
    while wrapper := next((each for each in WRAPPERS if name.startswith(each)), None):
        name = name.removeprefix(wrapper)
        names.append(name)
    return names


def bare_name(name: str) -> str:
    """A name without what stands before it on account of wrappers; `head.` stays, for timm's own names begin so."""
    while wrapper := next((each for each in WRAPPERS if each != "head." and name.startswith(each)), None):
        name = name.removeprefix(wrapper)
    return name


def _parts(model: nn.Module) -> list[str]:
    """What may stand before a file's name: nothing, a part of the model, a head of a stack."""
    children = [name for name, _ in model.named_children()]
    members = [name for name, _ in model.named_modules() if re.fullmatch(r"head\.heads\.\d+", name)]
    return ["", *(f"{name}." for name in (*children, *members))]


def _head_tensors(model: nn.Module, own: Mapping[str, Tensor]) -> set[str]:
    """Names of what makes classes out of features: the head of a classifier, else the last layer."""
    if hasattr(model, "backbone") and hasattr(model, "head"):
        return {key for key in own if key.startswith(("head.", "auxiliary."))}
    return {key for key in own if key.rpartition(".")[0] in last_layers(model)}


def last_layers(model: nn.Module) -> list[str]:
    """Names of the layers whose outputs are the classes. timm tells them of its own models: some have two."""
    told = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    there = [name for name in ((told,) if isinstance(told, str) else told) if f"{name}.weight" in model.state_dict()]
    if there:
        return there
    heads = [model]
    if hasattr(model, "backbone") and hasattr(model, "head"):
        heads = [model.get_submodule("head")]
        heads += [head for name, head in model.named_modules() if re.fullmatch(r"auxiliary\.\w+", name)]
    names = {id(module): name for name, module in model.named_modules()}
    layers = []
    for head in heads:
        linear = [each for each in head.modules() if isinstance(each, (nn.Linear, nn.Conv2d)) or _is_weight(each)]
        layers += [names[id(linear[-1])]] if linear else []
    return layers


def _is_weight(module: nn.Module) -> bool:
    """Whether this is a layer of its own kind: a weight of two dimensions, one row per class."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.ndim == 2


def _place_last_layer(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], last: list[str], result: Match) -> None:
    """The file's last layer may have another name than ours: `linear` of a script's own model, timm's `classifier`."""
    if not last or f"{last[0]}.weight" in result.placed or f"{last[0]}.weight" not in own:
        return
    here = own[f"{last[0]}.weight"]
    names = [name.removesuffix(".weight") for name in result.left_over if name.endswith(".weight")]
    alike = [name for name in names if _width(tensors[f"{name}.weight"]) == _width(here)]
    if len(alike) != 1:
        return
    for end in ("weight", "bias"):
        place, name = f"{last[0]}.{end}", f"{alike[0]}.{end}"
        if place in own and name in result.left_over:
            result.placed[place], result.taken_from[place] = tensors[name], name
            result.by_width.append(place)
            result.left_over.remove(name)


def _width(weight: Tensor) -> int | None:
    """The input width of a fully connected layer, also of one written as a 1x1 convolution."""
    return weight.shape[1] if weight.ndim >= 2 and weight[0, 0].numel() == 1 else None


def _fit_shape(key: str, here: Tensor, last: list[str], remake_head: bool, result: Match) -> None:
    """Keep a placed tensor, bring it into the model's shape, or take it out again."""
    there = result.placed[key]
    layer, _, kind = key.rpartition(".")
    if there.numel() == here.numel() and there.squeeze().shape == here.squeeze().shape:
        result.placed[key] = there.reshape(here.shape)  # a fully connected layer as a 1x1 convolution
    if layer in last and (remake_head or result.placed[key].shape != here.shape):
        if kind == "weight" or layer not in result.remade:
            result.remade[layer] = (tuple(there.shape), tuple(here.shape))
        del result.placed[key]
    elif result.placed[key].shape == here.shape:
        return
    elif kind == "weight" and here.ndim == there.ndim == 4 and _differ_in_colours(here, there):
        from timm.models import adapt_input_conv  # pyright: ignore[reportPrivateImportUsage]

        result.placed[key] = adapt_input_conv(here.shape[1], there)
        result.adapted[key] = there.shape[1]
    else:
        result.other_shape[key] = tuple(there.shape)
        del result.placed[key]


def _differ_in_colours(here: Tensor, there: Tensor) -> bool:
    """Whether a convolution of colour images meets images with another number of channels."""
    same = here.shape[0] == there.shape[0] and here.shape[2:] == there.shape[2:]
    return same and there.shape[1] == 3 and here.shape[1] in (1, 2, 4, 6)
