"""The losses of torch and timm, each with its own signature.

A loss takes logits (N, classes) and labels, class numbers (N,) or rows (N, classes), and gives their mean.
"""

from __future__ import annotations

import inspect

from torch import nn

from ..registry import LOSSES, ModuleClasses

for _name, _loss in vars(nn).items():
    if _name.endswith("Loss") and inspect.isclass(_loss):
        LOSSES.register_module(_name, module=_loss)
LOSSES.add_source("timm", ModuleClasses("timm.loss"))
