"""ImageClassifier: a backbone and a head, joined."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..registry import BACKBONES, HEADS, MODELS, ConfigError
from .outputs import Outputs


@MODELS.register_module()
class ImageClassifier(nn.Module):
    """Images (N, C, H, W) -> logits (N, num_classes).

    With auxiliary heads it returns `Outputs` in training mode, which hold their logits too.

        model = ImageClassifier(
            backbone=dict(type="ResNet", depth=18),
            head=dict(type="LinearHead", num_classes=10),
        )

    Args:
        backbone: a config or a module with an attribute `num_features`.
        head: a config or a module; a config is given the backbone's `num_features` as `in_features`.
        auxiliary_head: the config of a head that is built for each of the backbone's `auxiliary_features`, and has its
            part in training only, where the backbone's `forward_auxiliary` gives it maps of the network's middle.
        auxiliary_weight: how much the loss of each of them counts; 0.3 is GoogLeNet's (Szegedy et al. 2015, section 5).

    Raises:
        ConfigError: the backbone has no `num_features`, or returns something else; it has no `auxiliary_features`; or
            the heads tell different numbers of classes apart.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        head: dict | nn.Module,
        auxiliary_head: dict | None = None,
        auxiliary_weight: float = 0.3,
    ) -> None:
        super().__init__()
        self.backbone: nn.Module = backbone if isinstance(backbone, nn.Module) else BACKBONES.build(backbone)
        self.num_features = _num_features(self.backbone)
        in_features = dict(in_features=self.num_features)
        self.head: nn.Module = head if isinstance(head, nn.Module) else HEADS.build(head, default_args=in_features)
        self.auxiliary = None if auxiliary_head is None else nn.ModuleDict(self._auxiliary_heads(auxiliary_head))
        self.auxiliary_weight = auxiliary_weight

    def forward(self, images: Tensor) -> Tensor | Outputs:
        if self.training and self.auxiliary is not None:
            # The auxiliary heads come first, as in torchvision: dropout then draws the same numbers in both.
            features, maps = self.backbone.forward_auxiliary(images)  # pyright: ignore[reportCallIssue]
            auxiliary = tuple(head(each) for head, each in zip(self.auxiliary.values(), maps, strict=True))
            return Outputs(self._logits(features), auxiliary, self.auxiliary_weight)
        return self._logits(self.backbone(images))

    def _logits(self, features: Any) -> Tensor:
        if not isinstance(features, Tensor) or features.ndim < 2 or features.shape[1] != self.num_features:
            raise ConfigError(
                f"{type(self.backbone).__name__}: its forward should return a tensor of the shape "
                f"(N, {self.num_features}) or (N, {self.num_features}, H, W), for its num_features is "
                f"{self.num_features}; it returned {_describe(features)}"
            )
        return self.head(features)

    def _auxiliary_heads(self, config: dict) -> dict[str, nn.Module]:
        """`aux1`, `aux2`, ...: torchvision's names in GoogLeNet, so that its files load."""
        widths = getattr(self.backbone, "auxiliary_features", None)
        if widths is None:
            raise ConfigError(
                f"{type(self.backbone).__name__} has nothing for an auxiliary_head: leave it out, or take a backbone "
                "with the attribute `auxiliary_features`, such as GoogLeNet"
            )
        heads = [HEADS.build(config, default_args=dict(in_features=width)) for width in widths]
        numbers = {head.num_classes for head in (self.head, *heads) if hasattr(head, "num_classes")}
        if len(numbers) > 1:
            raise ConfigError(
                f"the head and its auxiliary heads must tell the same classes apart, not {self.head.num_classes} and "
                f"{heads[0].num_classes}: set auxiliary_head.num_classes to {self.head.num_classes}"
            )
        return {f"aux{number}": head for number, head in enumerate(heads, start=1)}


def _num_features(backbone: nn.Module) -> int:
    num_features = getattr(backbone, "num_features", None)
    if not isinstance(num_features, int):
        raise ConfigError(
            f"{type(backbone).__name__} has no num_features: give your backbone an attribute `num_features`: "
            "the channels of what its forward returns"
        )
    return num_features


def _describe(features: Any) -> str:
    return (
        f"one of the shape {tuple(features.shape)}" if isinstance(features, Tensor) else f"a {type(features).__name__}"
    )
