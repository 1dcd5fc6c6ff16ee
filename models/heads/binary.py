"""BinaryHead: yes or no, from one number."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ...registry import HEADS
from .linear import LinearHead


@HEADS.register_module()
class BinaryHead(LinearHead):
    """Features (N, in_features) or (N, in_features, H, W) -> logits (N, 2) = (0, z), z being one linear output.

    The softmax of (0, z) is (1 - sigmoid(z), sigmoid(z)), so CrossEntropyLoss on these logits is binary cross-entropy
    on z, and whatever counts classes (labels 0 and 1, accuracy, predictions) takes them as they are. The layer itself
    has one output: logistic regression, where `LinearHead(num_classes=2)` would have two outputs of which only the
    difference matters.

    Args:
        in_features: filled in by ImageClassifier.
        dropout: the share of features that is set to zero in training.
    """

    def __init__(self, in_features: int, dropout: float = 0.0) -> None:
        super().__init__(in_features, num_classes=1, dropout=dropout)
        self.num_classes = 2

    def forward(self, features: Tensor) -> Tensor:
        return F.pad(super().forward(features), (1, 0))
