"""ImageClassifier: a backbone and a head, joined."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..registry import BACKBONES, HEADS, MODELS, ConfigError


@MODELS.register_module()
class ImageClassifier(nn.Module):
    """Images (N, C, H, W) -> logits (N, num_classes).

        model = ImageClassifier(
            backbone=dict(type="ResNet", depth=18),
            head=dict(type="LinearHead", num_classes=10),
        )

    Args:
        backbone: a config or a module with an attribute `num_features`.
        head: a config or a module; a config is given the backbone's `num_features` as `in_features`.

    Raises:
        ConfigError: the backbone has no `num_features`, or returns something else.
    """

    def __init__(self, backbone: dict | nn.Module, head: dict | nn.Module) -> None:
        super().__init__()
        self.backbone: nn.Module = backbone if isinstance(backbone, nn.Module) else BACKBONES.build(backbone)
        self.num_features = _num_features(self.backbone)
        in_features = dict(in_features=self.num_features)
        self.head: nn.Module = head if isinstance(head, nn.Module) else HEADS.build(head, default_args=in_features)

    def forward(self, images: Tensor) -> Tensor:
        features = self.backbone(images)
        if not isinstance(features, Tensor) or features.ndim < 2 or features.shape[1] != self.num_features:
            raise ConfigError(
                f"{type(self.backbone).__name__}: its forward should return a tensor of the shape "
                f"(N, {self.num_features}) or (N, {self.num_features}, H, W), for its num_features is "
                f"{self.num_features}; it returned {_describe(features)}"
            )
        return self.head(features)


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
