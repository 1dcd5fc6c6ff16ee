"""A torch that files can harm, though everything here reads them as safely as torch can."""

from __future__ import annotations

import logging
from functools import cache

import torch

logger = logging.getLogger("knoll")


@cache
def warn_of_known_holes() -> None:
    """Log a line if torch is older than 2.10, once in a process: a cluster's torch may not be the user's to choose.

    https://github.com/pytorch/pytorch/security/advisories/GHSA-63cw-57p8-fm3p
    """
    if torch.__version__ < "2.10":  # not as strings: torch compares versions
        logger.warning(
            "torch %s has a known hole (CVE-2026-24747): a malicious checkpoint or weights file can run code. "
            'pip install "torch>=2.10", or read only files that you trust.',
            torch.__version__,
        )
