"""MultiLabelHead: any number of labels for one image, each a yes or no of its own."""

from __future__ import annotations

import math

from torch import nn

from ...registry import HEADS, ConfigError
from .linear import LinearHead


@HEADS.register_module()
class MultiLabelHead(LinearHead):
    """Features (N, in_features) or (N, in_features, H, W) -> logits (N, num_classes), whose sigmoids are probabilities.

    Labels are multi-hot, (N, num_classes): 1 for each class that the image shows, 0 for the others. For
    BCEWithLogitsLoss, MultiLabelSoftMarginLoss, `timm/AsymmetricLossMultiLabel` and the like, and for metrics such as
    `torchmetrics/MultilabelF1Score`.

    The layer is LinearHead's. What differs is `multi_label`, by which predictions know that the probabilities are
    sigmoids, and the checks before a run that labels are multi-hot; any head or model may say so of itself.

    Args:
        in_features: filled in by ImageClassifier.
        dropout: the share of features that is set to zero in training.
        prior: how probable each label shall be before training. The bias begins at -log((1 - prior) / prior), so that
            many rare labels do not rule the first losses (Lin et al.: Focal Loss for Dense Object Detection, 2017,
            section 4.1, "Initialization"; there the weights, too, are small, with a deviation of 0.01, where here they
            are torch's). By default the bias is torch's.

    Raises:
        ConfigError: a prior that is not between 0 and 1.
    """

    multi_label = True

    def __init__(self, in_features: int, num_classes: int, dropout: float = 0.0, prior: float | None = None) -> None:
        super().__init__(in_features, num_classes, dropout)
        if prior is not None:
            if not 0 < prior < 1:
                raise ConfigError(f"MultiLabelHead: prior is {prior}; a probability lies between 0 and 1")
            nn.init.constant_(self.fc.bias, -math.log((1 - prior) / prior))
