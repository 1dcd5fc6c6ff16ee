"""The losses of torch and timm, each with its own signature.

A loss takes logits (N, classes) and labels, class numbers (N,) or rows (N, classes), and gives their mean.
"""

from __future__ import annotations

from ..registry import LOSSES, ModuleClasses

LOSSES.add_library(ModuleClasses("torch.nn", "*Loss"))
LOSSES.add_source("timm", ModuleClasses("timm.loss"))
