"""Parts of a model by shell patterns over dotted names: "backbone.layer1", "backbone.layer*", "*.bn1"."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from ..registry import ConfigError
from ..registry.names import did_you_mean, nearest


def covering(patterns: Iterable[str], names: Collection[str], key: str) -> dict[str, str]:
    """The pattern that covers each name; names that none covers are left out.

    A pattern covers what it matches and everything below. `*` matches dots too, as it does in timm. Of several patterns
    that cover a name the last one counts.

    Args:
        names: of parameters, or of modules too.
        key: where the patterns stand in the config, for the message.

    Raises:
        ConfigError: a pattern that covers nothing.
    """
    covered: dict[str, str] = {}
    for pattern in patterns:
        found = dict.fromkeys((name for name in names if _covers(pattern, name)), pattern)
        if not found:
            raise ConfigError(f"{key}: the pattern `{pattern}` covers nothing of the model.{_hint(pattern, names)}")
        covered |= found
    return covered


def _covers(pattern: str, name: str) -> bool:
    return any(fnmatchcase(place, pattern) for place in _path(name))


def _path(name: str) -> list[str]:
    """a.b.c -> a, a.b, a.b.c: the name and what holds it."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _hint(pattern: str, names: Collection[str]) -> str:
    places = {place for name in names for place in _path(name)}
    deeper = [place for place in places if fnmatchcase(place, f"*.{pattern}")]  # `layer1` for `backbone.layer1`
    if deeper:
        return f" Did you mean `{min(deeper)}`?"
    return did_you_mean(pattern, places if nearest(pattern, places) else {_path(name)[0] for name in names})
