"""Tudui: the network of 小土堆's PyTorch course, for the 32x32 colour images of CIFAR-10."""

from __future__ import annotations

from torch import Tensor, nn

from ...registry import BACKBONES, ConfigError


@BACKBONES.register_module()
class Tudui(nn.Module):
    """Three times convolution and pooling, then a linear layer: (N, 3, 32, 32) -> (N, 64).

    With `head=dict(type="LinearHead", num_classes=10)` it is the course's whole network: 145,578 parameters.

    The layers follow the course, which has no activation functions: max pooling is the only non-linearity here. That
    leaves the two linear layers at the end no stronger than one. Putting a ReLU behind each convolution is a good first
    experiment.

    Raises:
        ConfigError: images of any other shape; the first linear layer fits no other.
    """

    num_features = 64
    example_shape: tuple[int, int, int] = (3, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, kernel_size=5, padding=2),  # 32 x 32 x 32
            nn.MaxPool2d(2),  # 32 x 16 x 16
            nn.Conv2d(32, 32, kernel_size=5, padding=2),
            nn.MaxPool2d(2),  # 32 x 8 x 8
            nn.Conv2d(32, 64, kernel_size=5, padding=2),
            nn.MaxPool2d(2),  # 64 x 4 x 4
            nn.Flatten(),  # 1024
            nn.Linear(64 * 4 * 4, self.num_features),
        )

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1:] != self.example_shape:
            raise ConfigError(
                f"Tudui takes images of the shape (N, 3, 32, 32), got {tuple(images.shape)}: "
                "resize them, or take a backbone for other sizes, such as ResNet"
            )
        return self.layers(images)
