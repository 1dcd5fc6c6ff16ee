"""Every model of timm and torchvision by its name, `timm/convnext_tiny`: whole among MODELS, without its last layer
among BACKBONES. Their weights come like any others: by `weights` at the top of the config."""

from __future__ import annotations

import inspect
import sys
import typing
import warnings
from collections.abc import Callable, Iterable
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

from ..registry import BACKBONES, MODELS
from ..registry.fit import Misfit
from ..registry.signature import parameters
from ..registry.source_text import decorated_functions, mentions

if TYPE_CHECKING:
    from torch import nn

# What these libraries would do themselves, and Knoll does for every model alike.
_NOT_OURS = ("weights", "progress", "pretrained_cfg", "aux_logits", "init_weights")


class _AtTheTop:
    """Marks `pretrained=True`, which people know from timm: says where it is written here."""

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, value: Any) -> None:
        if value:
            raise Misfit(f"it at the top of the config, where every model's weights are: weights={self.name!r}")


class _Timm:
    """timm's models; timm is imported when the first of them is asked for. Names that timm has given up still count."""

    def __init__(self, without_head: bool) -> None:
        self.without_head = without_head

    def get(self, name: str) -> Callable[..., nn.Module] | None:
        if "timm" not in sys.modules and not mentions("timm.models", name):
            return None
        import timm

        if not timm.is_model(name):
            return None

        def create(**arguments: Any) -> nn.Module:
            arguments.pop("pretrained", None)
            return timm.create_model(name, **arguments)

        def create_backbone(**arguments: Any) -> nn.Module:
            model: Any = create(num_classes=0, **arguments)
            # What a timm model returns without its last layer is pooled, and may have passed a layer of another width.
            model.num_features = model.head_hidden_size
            size = arguments.get("img_size") or model.pretrained_cfg.get("input_size", (3, 224, 224))[1:]
            height, width = (size, size) if isinstance(size, int) else size
            model.example_shape = (arguments.get("in_chans", 3), height, width)
            return model

        kind = typing.get_type_hints(timm.model_entrypoint(name)).get("return")
        known = timm.get_pretrained_cfg(name)
        weights = f"timm/{name}.{known.tag}" if known is not None and known.tag else f"timm/{name}"
        return _with_signature(create_backbone if self.without_head else create, kind, self.without_head, weights)

    def names(self) -> Iterable[str]:
        return self.imported_names() if "timm" in sys.modules else self.names_in_text()

    def imported_names(self) -> list[str]:
        import timm

        return timm.list_models()

    def names_in_text(self) -> list[str]:
        return decorated_functions("timm.models", "register_model") or self.imported_names()


class _Torchvision:
    """torchvision's classifiers."""

    def __init__(self, without_head: bool) -> None:
        self.without_head = without_head

    def get(self, name: str) -> Callable[..., nn.Module] | None:
        if name not in self.names():
            return None
        from torchvision.models import get_model_builder, get_model_weights

        builder = get_model_builder(name)

        def create(**arguments: Any) -> nn.Module:
            arguments.pop("pretrained", None)
            if name in ("googlenet", "inception_v3"):  # ours is the GoogLeNet with auxiliary heads
                arguments = dict(aux_logits=False, init_weights=True, **arguments)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                return builder(weights=None, **arguments)

        def create_backbone(**arguments: Any) -> nn.Module:
            model: Any = create(**arguments)
            model.num_features = _take_last_layer(model)
            model.example_shape = (3, 299, 299) if name == "inception_v3" else (3, 224, 224)
            return model

        kind = typing.get_type_hints(builder).get("return")
        weights = f"torchvision/{next(iter(get_model_weights(name)))}"
        return _with_signature(create_backbone if self.without_head else create, kind, self.without_head, weights)

    def names(self) -> Iterable[str]:
        return self.imported_names() if "torchvision.models" in sys.modules else self.names_in_text()

    def names_in_text(self) -> list[str]:
        return decorated_functions("torchvision.models", "register_model") or self.imported_names()

    def imported_names(self) -> list[str]:
        import torchvision

        return torchvision.models.list_models(module=torchvision.models)


def _take_last_layer(model: nn.Module) -> int:
    """Replace a model's last layer, which makes classes of features, by nothing; returns the number of features."""
    from torch import nn

    layers = [(name, each) for name, each in model.named_modules() if isinstance(each, (nn.Linear, nn.Conv2d))]
    name, layer = layers[-1]
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, nn.Identity())
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _with_signature(
    create: Callable[..., nn.Module], kind: Any, without_head: bool, weights: str
) -> Callable[..., nn.Module]:
    """Give a factory the arguments of the class it makes, so that a misspelt one is found before it is called."""
    from torch import nn

    create.__doc__ = inspect.getdoc(kind) if inspect.isclass(kind) else None
    if not inspect.isclass(kind) or not issubclass(kind, nn.Module):
        return create  # the library does not say: it will, when it is called
    known = parameters(kind)
    withheld = {*_NOT_OURS, *(("num_classes",) if without_head else ())}
    create.__annotations__ = {key: each for key, each in known.annotations.items() if key not in withheld}
    create.__annotations__["pretrained"] = Annotated[bool, _AtTheTop(weights)]
    # The library gives what its class requires; a config only changes that.
    taken = [Parameter(key, Parameter.KEYWORD_ONLY, default=None) for key in create.__annotations__]
    taken += [Parameter("arguments", Parameter.VAR_KEYWORD)] if known.takes_any else []
    create.__signature__ = inspect.Signature(taken)  # pyright: ignore[reportFunctionMemberAccess]
    return create


MODELS.add_source("timm", _Timm(without_head=False))
MODELS.add_source("torchvision", _Torchvision(without_head=False))
BACKBONES.add_source("timm", _Timm(without_head=True))
BACKBONES.add_source("torchvision", _Torchvision(without_head=True))
