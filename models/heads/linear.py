"""LinearHead: one linear layer, the head of ResNet and of most networks since."""

from __future__ import annotations

from torch import Tensor, nn

from ...registry import HEADS


@HEADS.register_module()
class LinearHead(nn.Module):
    """Features (N, in_features) or (N, in_features, H, W) -> logits (N, num_classes).

    Feature maps are averaged over height and width first (Lin, Chen, Yan: Network In Network, 2014, section 3.2).

    With MSELoss its outputs are measured values instead of logits: linear regression. `num_classes` is then the number
    of values, and labels are floats (N, num_classes).

    Args:
        in_features: filled in by ImageClassifier.
        dropout: the share of features that is set to zero in training.
    """

    def __init__(self, in_features: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_features, num_classes)  # torchvision's name in ResNet, so that its files load

    def forward(self, features: Tensor) -> Tensor:
        return self.fc(self.dropout(average_maps(features)))


def average_maps(features: Tensor) -> Tensor:
    """Feature maps (N, C, H, W) averaged over height and width; vectors (N, C) as they are."""
    return features.mean(dim=(2, 3)) if features.ndim == 4 else features
