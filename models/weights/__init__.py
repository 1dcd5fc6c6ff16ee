"""Loading weights into a model, and saying exactly what was done.

`fetch.py` finds a file or downloads it, `read.py` reads it, `match.py` gives each of its tensors a place in the model,
`report.py` says so, and `load.py` does it all.
"""

from .load import Loaded, load_weights

__all__ = ["Loaded", "load_weights"]
