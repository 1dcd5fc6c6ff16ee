"""What images published weights were trained on, compared with the images that a config would give them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..registry import Config, UserError
from ..registry.tree import KeyPath, dotted
from .weights.fetch import torchvision_entry


class TrainedWith(NamedTuple):
    """How images were prepared: scaled to 0-1 and normalised per channel, `size` pixels a side."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    interpolation: str


def preprocessing_of(source: str) -> TrainedWith | None:
    """The preprocessing of weights that timm or torchvision knows: by name, or by the name of torchvision's file.

    Of a file that torchvision no longer lists, such as resnet34-333f7ec4.pth, the first weights of that model tell.
    """
    if source.startswith("timm/"):
        return _of_timm(source.removeprefix("timm/"))
    if source.startswith("torchvision/"):
        try:
            return _of_torchvision(torchvision_entry(source))
        except UserError:  # a misspelt name: loading says so
            return None
    file = Path(source).name
    files = _torchvision_files()
    listed = re.fullmatch(r"(\w+)-[0-9a-f]{8}\.pth", file)
    entry = files.get(file) or (files.get(listed[1]) if listed else None)
    return _of_torchvision(entry) if entry is not None else None


def _of_timm(name: str) -> TrainedWith | None:
    import timm

    try:
        known = timm.models.get_pretrained_cfg(name)  # pyright: ignore[reportPrivateImportUsage]
    except RuntimeError:
        return None
    if known is None:
        return None
    return TrainedWith(tuple(known.mean), tuple(known.std), known.input_size[-1], known.interpolation)


def _of_torchvision(entry: Any) -> TrainedWith:
    preset = entry.transforms()
    return TrainedWith(tuple(preset.mean), tuple(preset.std), preset.crop_size[0], preset.interpolation.value)


@cache
def _torchvision_files() -> dict[str, Any]:
    """All weights of torchvision's classifiers by the name of their file; the first of each by the model's name."""
    import torchvision
    from torchvision.models import get_model_weights, list_models

    known = {model: list(get_model_weights(model)) for model in list_models(module=torchvision.models)}
    files = {Path(entry.url).name: entry for entries in known.values() for entry in entries}
    return files | {model: entries[0] for model, entries in known.items()}


def compare(config: Config) -> list[str]:
    """Where a config's transforms differ from what its weights were trained with, a line for each, with its place.

    None of it is a mistake by itself: smaller images are faster, and fine-tuning adapts. But it should be known.
    """
    weights = config.data.get("weights")
    source = weights.get("source") if isinstance(weights, Mapping) else weights
    trained = preprocessing_of(source) if isinstance(source, str) else None
    if trained is None:
        return []
    sets: dict[KeyPath, Any] = {("train",): config.data["train"]}
    sets |= {("evaluation", name): each for name, each in config.data.get("evaluation", {}).items()}
    lines = []
    for path, each in sets.items():
        for key, here, there in _differences(each.get("transforms", []), trained):
            where = (*path, "transforms", *key)
            origin = config.origin(where)
            place = f" ({origin})" if origin else ""
            lines.append(f"note: {dotted(where)}{place}: {here}; the weights were trained with {there}")
    return lines


def _differences(transforms: list[dict], trained: TrainedWith) -> Iterator[tuple[KeyPath, Any, Any]]:
    kinds = [each.get("type") for each in transforms]
    if "Normalize" not in kinds:
        yield (), "no Normalize", f"mean {_list(trained.mean)} and std {_list(trained.std)}"
    sized = None
    for number, (kind, each) in enumerate(zip(kinds, transforms, strict=True)):
        if kind == "Normalize":
            for key, there in (("mean", trained.mean), ("std", trained.std)):
                here = tuple(each.get(key, ()))
                if len(here) != len(there) or any(abs(a - b) > 2e-3 for a, b in zip(here, there, strict=True)):
                    yield (number, key), _list(here), _list(there)
        if "size" in each:
            sized = number
        if kind in ("Resize", "RandomResizedCrop"):
            here = each.get("interpolation", "bilinear")
            if here != trained.interpolation:
                yield (number, "interpolation"), here, trained.interpolation
    if sized is not None and _side(transforms[sized]["size"]) != trained.size:
        yield (sized, "size"), f"{_side(transforms[sized]['size'])} pixels", f"{trained.size}"


def _side(size: Any) -> Any:
    return size[0] if isinstance(size, (list, tuple)) and size else size


def _list(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
