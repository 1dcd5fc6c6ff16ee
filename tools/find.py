"""Find settings of a config by trying them: the learning rate, the batch size.

    python tools/find.py lr configs/resnet34_flowers.py        # a curve of the loss, and rates that it suggests
    python tools/find.py batch configs/resnet34_flowers.py     # memory and speed by batch size

Both train a few steps, leave nothing behind, and print what to add to the command that trains.
`python tools/find.py <command> --help` says more of each.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from knoll.tools import find_commands
from knoll.tools.cli import dispatch, run


def main(argv: Sequence[str] | None = None) -> int:
    return dispatch("knoll find", "Find settings of a config by trying them.", find_commands, argv)


if __name__ == "__main__":
    sys.exit(run(main))
