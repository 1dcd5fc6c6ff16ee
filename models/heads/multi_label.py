"""MultiLabelHead: several things may be in one image."""

from __future__ import annotations

import math
from typing import Annotated

from torch import nn

from ...registry import HEADS, ConfigError
from ...registry.fit import AtLeast
from .linear import LinearHead


@HEADS.register_module()
class MultiLabelHead(LinearHead):
    """Features (N, in_features) or (N, in_features, H, W) -> logits (N, num_classes), each a yes or no of its own.

    The probability of a class is the sigmoid of its logit, and labels are (N, num_classes) of 0 and 1: for
    BCEWithLogitsLoss, MultiLabelSoftMarginLoss or timm/AsymmetricLossMultiLabel.

    Args:
        in_features: filled in by ImageClassifier.
        dropout: the share of features that is set to zero in training.
        prior: the probability of every class before training. Where most labels are 0, a small one keeps the first
            losses from being about nothing but that (Lin et al.: Focal Loss for Dense Object Detection, 2017, section
            3.3). Without it the layer begins as torch makes it, near 0.5.

    Raises:
        ConfigError: a prior that is not between 0 and 1.
    """

    multi_label = True  # probabilities are sigmoids, not a softmax

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        dropout: float = 0.0,
        prior: Annotated[float, AtLeast(0)] | None = None,
    ) -> None:
        super().__init__(in_features, num_classes, dropout)
        if prior is not None:
            if not 0 < prior < 1:
                raise ConfigError(f"MultiLabelHead: prior is a probability between 0 and 1, got {prior}")
            nn.init.constant_(self.fc.bias, math.log(prior / (1 - prior)))
