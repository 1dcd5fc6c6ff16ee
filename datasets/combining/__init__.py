"""Data sets made of others: joined, chosen from, split into parts and folds."""

from ...registry import import_siblings

import_siblings(__name__, __path__)
