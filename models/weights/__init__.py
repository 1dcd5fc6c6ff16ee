"""Loading weights into a model, and saying exactly what was done.

`read.py` reads a file, `fetch.py` finds or downloads it, `match.py` gives each of its tensors a place in the model,
and `load.py` does all three.
"""

from .load import load_weights

__all__ = ["load_weights"]
