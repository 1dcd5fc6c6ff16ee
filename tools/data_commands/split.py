"""Write the files of a config's splits, and say how many images of each class are in each part.

    python tools/data.py split configs/mine.py
    python tools/data.py split configs/mine.py train.dataset.seed=1 train.dataset.file=splits/seed1.csv

A file says for every sample which part it is in; once it is there, the split never changes. Keep it with the config:
training writes it too, where it is missing. A file that is there already is read, and not written again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from knoll.registry import UserError, load_config, require_valid
from knoll.tools.cli import OVERRIDES_HELP, parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("data split", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    options = arguments.parse_intermixed_args(argv)

    config = load_config(options.config, options.overrides)
    require_valid(config)  # before the imports below, which take seconds

    from knoll.runner.data_report.splits import build_parts, find_splits

    splits = find_splits(config.data)
    without = [place for split in splits if not split.config.get("file") for place in split.used]
    if without:
        raise UserError(f"{without[0]}: the split has no file to write: add file='splits/{config.name}.csv'")
    for number, split in enumerate(splits):
        file = Path(split.config["file"])
        was_there = file.exists()
        parts = build_parts(split)
        print(f"{chr(10) if number else ''}{file}: {'was there already' if was_there else 'written'}")
        print("\n".join(f"  {place}: part {part}" for place, part in split.used.items()))
        print("\n".join(table_of(parts)))
    return 0


def table_of(parts: Mapping) -> list[str]:
    """How many images there are in each part, and of each class how many of its images."""
    from knoll.runner.data_report.text import table

    counts = {name: part.labels.counts if part.labels else {} for name, part in parts.items()}
    rows = [["images of each class", *parts]]
    for each in dict.fromkeys(each for known in counts.values() for each in known):
        own = [known.get(each, 0) for known in counts.values()]
        rows.append([each, *(f"{count:,} {count / max(1, sum(own)):6.1%}" for count in own)])
    images = [part.images for part in parts.values()]
    rows.append(["images", *(f"{count:,} {count / max(1, sum(images)):6.1%}" for count in images)])
    return table(rows)


if __name__ == "__main__":
    from knoll.tools.cli import run

    sys.exit(run(main))
