"""Hooks: what happens around the training loop, one hook per file. Every file in this folder is found by itself."""

from ..registry import import_siblings
from .hook import Hook

__all__ = ["Hook"]

import_siblings(__name__, __path__)
