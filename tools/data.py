"""Look at the data of a config: what is in it, what training sees of it, how it is split.

    python tools/data.py stats configs/resnet34_flowers.py     # counts, sizes, mean and std, duplicates, bad files
    python tools/data.py show configs/resnet34_flowers.py      # a picture of augmented samples
    python tools/data.py split configs/resnet34_flowers.py     # write the files of its splits

`python tools/data.py <command> --help` says more of each.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from knoll.tools import data_commands
from knoll.tools.cli import dispatch, run


def main(argv: Sequence[str] | None = None) -> int:
    return dispatch("knoll data", "Look at the data of a config.", data_commands, argv)


if __name__ == "__main__":
    sys.exit(run(main))
