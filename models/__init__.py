"""Backbones (images to features), heads (features to logits), and the classifier that joins the two."""
