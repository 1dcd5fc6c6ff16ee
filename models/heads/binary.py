"""BinaryHead: one output that tells two classes apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...registry import HEADS
from .linear import average_maps


@HEADS.register_module()
class BinaryHead(nn.Module):
    """Features (N, in_features) or (N, in_features, H, W) -> logits (N, 2) for the classes 0 and 1.

    Only one number z is computed, as in logistic regression; the logits are (0, z). Their softmax is
    (1 - sigmoid(z), sigmoid(z)), so CrossEntropyLoss is binary cross-entropy, to the same gradient, and whatever
    counts classes (accuracy, predictions) needs to know nothing of it. Labels are class numbers (N,). Feature maps are
    averaged over height and width first.

    Where z itself is wanted, (N, 1): MultiLabelHead with `num_classes=1`, BCEWithLogitsLoss, and labels as floats
    (N, 1), of a data set with one class.

    Args:
        in_features: filled in by ImageClassifier.
        dropout: the share of features that is set to zero in training.
    """

    num_classes = 2

    def __init__(self, in_features: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        z = self.fc(self.dropout(average_maps(features)))
        return torch.cat([torch.zeros_like(z), z], dim=1)
