"""3-Augment: the three augmentations that vision transformers are trained with in DeiT III."""

from __future__ import annotations

from typing import Annotated

from torchvision.transforms import v2

from ..registry import TRANSFORMS
from ..registry.fit import AtLeast


@TRANSFORMS.register_module()
def ThreeAugment(color_jitter: Annotated[float, AtLeast(0)] = 0.3) -> v2.Transform:
    """One of grey, solarised or blurred, each as probable, and then colour jitter (Touvron et al. 2022, section 3).

    For uint8 images or Pillow's, colour or grey. The crop before it and the flip are not part of it: in the paper a
    random resized crop, or, on many images, a resize and a RandomCrop with 4 pixels of reflected padding.

    Values are those of the authors' code: solarised from 128 on, a blur of 0.1 to 2 pixels. That code blurs by Pillow,
    which approximates a Gaussian by boxes; here it is torchvision's blur over 13 pixels, three standard deviations each
    way, and the mean difference is half a grey level of 255.

    Args:
        color_jitter: by how much brightness, contrast and saturation change; 0 for none.
    """
    one = v2.RandomChoice(
        [v2.RandomGrayscale(p=1.0), v2.RandomSolarize(threshold=128, p=1.0), v2.GaussianBlur(13, sigma=(0.1, 2.0))]
    )
    jitter = v2.ColorJitter(color_jitter, color_jitter, color_jitter)
    return v2.Compose([one, jitter]) if color_jitter else one
