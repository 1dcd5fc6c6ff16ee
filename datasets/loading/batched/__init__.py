"""Transforms of torchvision for whole batches: the same names and settings, applied to all images at once."""

from ....registry import import_siblings

import_siblings(__name__, __path__)
