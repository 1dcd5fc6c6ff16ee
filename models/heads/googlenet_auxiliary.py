"""GoogLeNetAuxiliaryHead: a small classifier on maps from the middle of GoogLeNet."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import HEADS
from ..backbones.googlenet import BasicConv2d


@HEADS.register_module()
class GoogLeNetAuxiliaryHead(nn.Module):
    """Maps (N, in_features, H, W) -> logits (N, num_classes). It brings gradient to the lower layers in training.

    As in the paper (Szegedy et al.: Going Deeper with Convolutions, 2015, section 5): a pooling to 4 x 4, a 1x1
    convolution of 128 maps, a layer of 1024 units, dropout of 0.7, and the last layer. As in torchvision, and not as in
    the paper: the convolution has a batch normalisation, and the pooling divides maps of any size into 4 x 4 parts,
    where the paper averages over 5 x 5 with stride 3 and gets 4 x 4 from 14 x 14. Weights begin normal with a standard
    deviation of 0.01.

    Args:
        in_features: filled in by ImageClassifier.
        dropout: the share of hidden units that is set to zero in training.
    """

    def __init__(self, in_features: int, num_classes: int, dropout: float = 0.7) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = BasicConv2d(in_features, 128, kernel_size=1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, num_classes)

        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(module.weight, std=0.01)

    def forward(self, features: Tensor) -> Tensor:
        x = self.conv(self.avgpool(features)).flatten(1)
        x = F.relu(self.fc1(x))
        return self.fc2(self.dropout(x))
