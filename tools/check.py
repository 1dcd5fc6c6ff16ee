"""Find every mistake in a config, and show what it comes to.

    python tools/check.py configs/resnet34_flowers.py
    python tools/check.py configs/resnet34_flowers.py optimizer.lr=0.1

Prints the resolved config, each value with the file and line it was written in, or all mistakes at once, each with its
path, its place and the nearest name. Nothing is built and no data is read. Exit status 0 if there is no mistake.
Where the weights' own mean, deviation, size or interpolation are known and differ from the config's, a note says so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from knoll.registry import Config, load_config, make_experiment, require_valid
from knoll.registry.batch_size import note
from knoll.registry.tree import KeyPath
from knoll.tools.cli import OVERRIDES_HELP, parser, run


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("check", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    options = arguments.parse_intermixed_args(argv)

    config = load_config(options.config, options.overrides)
    require_valid(config)
    rows = list(resolved(config, config.data, ()))
    width = min(70, max(len(text) for text, _ in rows))
    for text, place in rows:
        print(f"{text:<{width}}  # {place}")
    if said := note(make_experiment(config.data)):
        print(f"note: {said}")
    if config.data.get("weights"):
        from knoll.models.pretrained import compare

        for line in compare(config):
            print(line)
    return 0


def resolved(config: Config, value: Any, path: KeyPath) -> Iterator[tuple[str, str]]:
    """Every line of the resolved config, and where it comes from."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs:
        here = (*path, key)
        lead = "    " * len(path) + ("- " if isinstance(value, list) else f"{key}: ")
        place = str(config.origin(here) or "")
        if isinstance(item, (dict, list)) and item and not _is_short(item):
            yield lead.rstrip(), place
            yield from resolved(config, item, here)
        else:
            yield f"{lead}{item!r}", place


def _is_short(value: dict | list) -> bool:
    return isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value)


if __name__ == "__main__":
    sys.exit(run(main))
