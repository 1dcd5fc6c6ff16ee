"""Errors that are the user's to mend: printed as a message, without a traceback."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class UserError(Exception):
    """Something outside the code is wrong: says what, where, and what to do about it.

    The tools print its message and exit with status 2; only `--debug` shows the traceback.
    """


class ConfigError(UserError, ValueError):
    """A value in a config that cannot be right."""


class BuildError(ConfigError):
    """A constructor that failed: where in the configs that were being built its own stands, which it is, and why.

    Args:
        config: what was to be built.
        place: what that is to its registry, such as "backbone"; the builds around it make it "model.backbone".
    """

    def __init__(self, config: Mapping, place: str, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.config, self.kind, self.reason = config, kind, reason
        self.place: list[Any] = [place]

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.place))} {self.kind} cannot be built: {self.reason}"

    def within(self, config: Mapping, place: str) -> None:
        """Add that another config was being built around it."""
        inner = _path(config, self.config) or self.place[:1]
        self.place, self.config = [place, *inner, *self.place[1:]], config


def _path(tree: Any, wanted: Mapping) -> list[Any]:
    """The keys that lead to a dict in nested dicts and lists; none if it is not there as it is."""
    pairs = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for key, value in pairs:
        if value is wanted or (isinstance(value, Mapping) and value == wanted):
            return [key]
        if below := _path(value, wanted):
            return [key, *below]
    return []


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


def one_line(text: str) -> str:
    """What has names of files in it, which may hold line breaks and what commands a terminal, as it can be printed."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)
