"""Losses: every loss of torch.nn by its name, timm's as `timm/...`. Every file in this folder is found by itself."""

from ..registry import import_siblings

import_siblings(__name__, __path__)
