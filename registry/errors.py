"""Errors that are the user's to mend: printed as a message, without a traceback."""

from __future__ import annotations

import re
from collections.abc import Mapping


class UserError(Exception):
    """Something outside the code is wrong: says what, where, and what to do about it.

    The tools print its message and exit with status 2; only `--debug` shows the traceback.
    """


class ConfigError(UserError, ValueError):
    """A value in a config that cannot be right."""


class BuildError(ConfigError):
    """A dict of a config of which nothing could be built.

    Attributes:
        cfg: the dict; by it a Config finds where it stands.
    """

    def __init__(self, message: str, cfg: Mapping | None = None) -> None:
        super().__init__(message)
        self.cfg = cfg


class UnavailableError(UserError):
    """Data or weights that are not there and could not be fetched."""


class UnknownNameError(UserError, KeyError):
    """A name that is in no registry. Also a KeyError, as mmengine's registry raises one here."""

    def __str__(self) -> str:
        # KeyError would print the repr of its message, with every line break escaped.
        return str(self.args[0])


class DuplicateNameError(UserError, KeyError):
    """A name that was registered twice. Also a KeyError, as in mmengine."""

    def __str__(self) -> str:
        return str(self.args[0])


def in_short(error: Exception) -> str:
    """An exception of somebody else's in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) <= 300 else text[:297] + '...'}".rstrip(": ")


def one_line(text: str) -> str:
    """What has names of files in it, which may hold line breaks and what commands a terminal, as it can be printed."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)
