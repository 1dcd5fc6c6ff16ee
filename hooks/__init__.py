"""Hooks: what happens around the training loop, one hook per file. Every file in this folder is found by itself."""

from .hook import Hook

__all__ = ["Hook"]
