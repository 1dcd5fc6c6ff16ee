"""AlexNet (Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012).

Its variant without groups: Krizhevsky: One Weird Trick for Parallelizing Convolutional Neural Networks (2014).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError

WIDTHS = {
    2012: (96, 256, 384, 384, 256),  # section 3.5
    2014: (64, 192, 384, 256, 256),  # torchvision's; the paper's footnote 1 has 384 in the fourth place
}


@BACKBONES.register_module()
class AlexNet(nn.Module):
    """Five convolutions and three overlapping poolings: (N, in_channels, H, W) -> (N, 256, H', W'); 224 -> 6.

    `paper=2014` is torchvision's network and has its names, so that its weight file loads. Its head is
    `dict(type="MLPHead", num_classes=1000, pool=6, dropout_first=True)`. It departs from the paper of that year in the
    width of the fourth convolution, and has no response normalisation. Weights begin as torch has them.

    `paper=2012` is the network of the first paper, with `head=dict(type="MLPHead", num_classes=1000, pool=6)`. The
    second, fourth and fifth convolution see only half of the maps, those that lay on the same graphics card (section
    3.5, Fig. 2). The response normalisation of section 3.3 follows the first two. Weights begin normal with a standard
    deviation of 0.01, and the biases of those three convolutions at 1 (section 5); those of the head's hidden layers
    begin at 0 here, and at 1 in the paper.

    Both pad the image by 2. The paper's 224 x 224 pixels, which would give 54 x 54 outputs without padding, then give
    the 55 x 55 that its later sizes need.

    Raises:
        ConfigError: images of less than 63 pixels a side: nothing is left after the last pooling.
    """

    num_features = 256
    example_shape: tuple[int, int, int] = (3, 64, 64)

    def __init__(self, paper: Literal[2012, 2014] = 2014, in_channels: int = 3) -> None:
        super().__init__()
        self.example_shape = (in_channels, 64, 64)
        first, second, third, fourth, fifth = WIDTHS[paper]
        groups = 2 if paper == 2012 else 1

        def normalization() -> list[nn.Module]:
            # The paper multiplies the sum of the 5 squares by alpha = 1e-4, torch their mean.
            return [nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)] if paper == 2012 else []

        self.features = nn.Sequential(
            nn.Conv2d(in_channels, first, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            *normalization(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(first, second, kernel_size=5, padding=2, groups=groups),
            nn.ReLU(inplace=True),
            *normalization(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(second, third, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(third, fourth, kernel_size=3, padding=1, groups=groups),
            nn.ReLU(inplace=True),
            nn.Conv2d(fourth, fifth, kernel_size=3, padding=1, groups=groups),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        if paper == 2012:
            self._initialize_as_in_2012()

    def _initialize_as_in_2012(self) -> None:
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                # The three with groups are the second, fourth and fifth.
                nn.init.constant_(layer.bias, 1.0 if layer.groups == 2 else 0.0)  # pyright: ignore[reportArgumentType]

    def forward(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) < 63:
            raise ConfigError(
                f"AlexNet takes images of at least 63 x 63 pixels, got {tuple(images.shape)}: "
                "resize them, or take a backbone for small images, such as CIFARResNet or Tudui"
            )
        return self.features(images)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Parameters to layers, for timm's layer-wise learning rates: one for each convolution; `coarse` or not."""
        return dict(stem=r"^features\.0\.", blocks=r"^features\.(\d+)\.")
