"""Five kinds of flowers, photographed and drawn."""

from ...registry import import_siblings

import_siblings(__name__, __path__)
