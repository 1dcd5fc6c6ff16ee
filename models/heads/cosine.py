"""CosineHead: the angle between an image and each class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import HEADS, ConfigError
from .linear import average_maps


@HEADS.register_module()
class CosineHead(nn.Module):
    """Features (N, in_features) or (N, in_features, H, W) -> logits (N, num_classes): scale * cos(features, class).

    The cosine of the angle between the features and the weights of each class: neither features nor classes win by
    being long, and there is no bias. Feature maps are averaged over height and width first.

    A cosine is at most 1, so without a scale no probability comes near 1, and the cross-entropy of C classes stays
    above log(1 + (C - 1) exp(-scale C / (C - 1))) (Wang, Xiang, Cheng, Yuille: NormFace, 2017, Proposition 2, where
    the scale is the square of their norm).

    Scale, its being learned and the first weights, normal with the variance 2 / in_features, are those of Gidaris and
    Komodakis (Dynamic Few-Shot Visual Learning without Forgetting, 2018, section 3.2, and their published code).
    Their code has a bias too, the same for every class: softmax does not see it, and it is left out. They also take
    the ReLU from the end of the backbone, so that features may be negative; the backbones here keep theirs.

    Args:
        in_features: filled in by ImageClassifier.
        scale: its value, or what it begins with.
        learn_scale: learn it, as any other weight.

    Raises:
        ConfigError: a scale that is not above 0.
    """

    def __init__(self, in_features: int, num_classes: int, scale: float = 10.0, learn_scale: bool = True) -> None:
        super().__init__()
        if scale <= 0:
            raise ConfigError(f"CosineHead: scale is {scale}; it must be above 0")
        self.num_classes = num_classes
        self.fc = nn.Linear(in_features, num_classes, bias=False)
        nn.init.kaiming_normal_(self.fc.weight)
        # A parameter either way, so that a state dict fits both.
        self.scale = nn.Parameter(torch.tensor(float(scale)), requires_grad=learn_scale)

    def forward(self, features: Tensor) -> Tensor:
        cosines = F.linear(F.normalize(average_maps(features)), F.normalize(self.fc.weight))
        return self.scale * cosines
