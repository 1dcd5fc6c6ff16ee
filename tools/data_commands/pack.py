"""Decode the images of a config's data sets once, into files that are read many times as fast.

    python tools/data.py pack configs/resnet34_flowers.py                # data/packed/resnet34_flowers_train.pack, ...
    python tools/data.py pack configs/resnet34_flowers.py --size 320 --to /scratch/packed

Prints the overrides by which a run reads them: `train.packed=<file>`. The shorter side of an image becomes 256 pixels,
or what --size says; take the largest size that the transforms resize to. A photograph of 256 x 340 pixels is 261 kB.
A run compares names, labels and sizes of the original files with those that were packed, if they are still there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from knoll.registry import UserError, load_config, make_experiment, require_valid
from knoll.tools.cli import OVERRIDES_HELP, parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("data pack", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument(
        "--size", type=int, default=256, metavar="N", help="pixels of the shorter side (default: 256)"
    )
    arguments.add_argument(
        "--to", type=Path, default=Path("data/packed"), metavar="FOLDER", help="default: data/packed"
    )
    options = arguments.parse_intermixed_args(argv)
    if options.size < 1:
        raise UserError("--size: expected at least 1")

    config = load_config(options.config, options.overrides)
    require_valid(config)  # before the imports below, which take seconds

    from rich.console import Console
    from rich.progress import Progress

    from knoll.datasets.layouts.packed import pack
    from knoll.runner.data_report.sets import build_sets

    made = []
    with Progress(console=Console(stderr=True)) as progress:
        for name, own in build_sets(make_experiment(config.data)).items():
            file = options.to / f"{config.name}_{name}.pack"
            task = progress.add_task(name, total=len(own.dataset))
            pack(own.dataset, file, options.size, own.source, lambda task=task: progress.advance(task))
            print(f"{name}: {len(own.dataset)} images ({own.source}), {file.stat().st_size / 1e6:.0f} MB, in {file}")
            made.append(f"{'train' if name == 'train' else f'evaluation.{name}'}.packed={file}")
    print(f"to read them: {' '.join(made)}")
    return 0


if __name__ == "__main__":
    from knoll.tools.cli import run

    sys.exit(run(main))
