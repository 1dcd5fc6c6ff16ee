"""Ways of keeping images and labels, one file each: folders, lists, arrays, tables, shards, other libraries' sets."""

from ...registry import import_siblings

import_siblings(__name__, __path__)
