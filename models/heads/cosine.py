"""CosineHead: classes as directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import HEADS


@HEADS.register_module()
class CosineHead(nn.Module):
    """Features (N, in_features) or (N, in_features, H, W) -> logits (N, num_classes) = scale * cosine.

    The cosine is that of the angle between the features and each class's weights; lengths count for nothing, so that
    classes with many images do not win by longer weights (Gidaris, Komodakis: Dynamic Few-Shot Visual Learning without
    Forgetting, 2018, section 3.2, with a trained scale that begins at 10; Wang et al.: NormFace, 2017, section 3.3, on
    why a scale is needed: cosines alone are too small for a softmax). Feature maps are averaged over height and width
    first.

    Args:
        in_features: filled in by ImageClassifier.
        scale: by what the cosines are multiplied, at the beginning or for good.
        learn_scale: train the scale too.
    """

    def __init__(self, in_features: int, num_classes: int, scale: float = 10.0, learn_scale: bool = True) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.weight = nn.Parameter(torch.empty(num_classes, in_features))
        nn.init.normal_(self.weight, std=in_features**-0.5)
        self.scale = nn.Parameter(torch.tensor(float(scale)), requires_grad=learn_scale)

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim == 4:
            features = features.mean(dim=(2, 3))
        return self.scale * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))
