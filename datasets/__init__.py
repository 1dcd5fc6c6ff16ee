"""Data sets, transforms, samplers and loaders. Every file in this folder is found by itself."""
