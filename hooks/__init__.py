"""Hooks: what happens around the training loop, one hook per file. Every file in this folder is found by itself."""

from ..registry import import_siblings

import_siblings(__name__, __path__)
