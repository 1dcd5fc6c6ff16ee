"""Backbones (images to features), heads (features to logits), and the classifier that joins the two."""

from ..registry import import_siblings

import_siblings(__name__, __path__)
