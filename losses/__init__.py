"""Losses: every loss of torch.nn by its name, timm's as `timm/...`. Every file in this folder is found by itself."""
