"""MLPHead: fully connected layers with ReLU and dropout between, the head of VGG and AlexNet."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...registry import HEADS, ConfigError


@HEADS.register_module()
class MLPHead(nn.Module):
    """Features (N, in_features, H, W) -> logits (N, num_classes).

    The defaults are VGG's (Simonyan, Zisserman 2015, Table 1), with torchvision's names in the state dict. Feature maps
    are first brought to `pool` x `pool` by averaging, which changes nothing for the 7 x 7 that VGG makes of 224 x 224
    pixels, and makes other image sizes possible. Weights begin normal with a standard deviation of 0.01, biases at 0,
    as in torchvision.

    Args:
        in_features: filled in by ImageClassifier.
        hidden: the widths of the layers before the last.
        dropout: the share of each hidden layer that is set to zero in training.
        dropout_first: dropout stands before each hidden layer instead of behind it. So has torchvision's AlexNet it,
            whose weight file then loads (with `pool=6`); in the paper of AlexNet it stands behind (section 4.2).
        pool: 1 averages over the whole map; features without height and width, (N, in_features), need it.

    Raises:
        ConfigError: features without height and width, and `pool` is not 1.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        hidden: Sequence[int] = (4096, 4096),
        dropout: float = 0.5,
        pool: int = 7,
        dropout_first: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.pool = pool
        self.avgpool = nn.AdaptiveAvgPool2d(pool)
        layers: list[nn.Module] = []
        width = in_features * pool * pool
        for next_width in hidden:
            hidden_layer = [nn.Linear(width, next_width), nn.ReLU(inplace=True)]
            if dropout_first:
                layers += [nn.Dropout(dropout), *hidden_layer]
            else:
                layers += [*hidden_layer, nn.Dropout(dropout)]
            width = next_width
        layers.append(nn.Linear(width, num_classes))
        self.classifier = nn.Sequential(*layers)

        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim == 4:
            features = self.avgpool(features)
        elif self.pool != 1:
            raise ConfigError(
                f"MLPHead: the backbone returns features of the shape {tuple(features.shape)}, without a height and "
                f"width to pool to {self.pool} x {self.pool}: set pool=1"
            )
        return self.classifier(features.flatten(1))
