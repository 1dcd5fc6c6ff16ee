"""Draw samples of a config's data as training sees them, or as each transform leaves them.

    python tools/data.py show configs/resnet34_flowers.py                        # the first 24 of epoch 0
    python tools/data.py show configs/resnet34_flowers.py --epoch 1 --count 48 --out epoch1.png
    python tools/data.py show configs/resnet34_flowers.py --steps                # a column for each transform
    python tools/data.py show configs/resnet34_flowers.py --set val

Training samples come from the loader of a run: the same pictures, in the same order, with the same draws. Normalize is
undone to show them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from knoll.registry import UserError, load_config, make_experiment, require_valid
from knoll.tools.cli import OVERRIDES_HELP, parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("data show", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument("--set", default="train", metavar="NAME", help="an evaluation set (default: train)")
    arguments.add_argument("--count", type=int, metavar="N", help="how many (default: 24; with --steps 6)")
    arguments.add_argument("--seed", type=int, metavar="N", help="of the run (default: the config's)")
    arguments.add_argument("--epoch", type=int, default=0, metavar="N", help="of the training set, from 0 (default: 0)")
    arguments.add_argument("--steps", action="store_true", help="each sample before and after every transform")
    arguments.add_argument("--out", type=Path, metavar="FILE.png", help="default: <config>_<set>.png")
    options = arguments.parse_intermixed_args(argv)
    for name, least in (("count", 1), ("seed", 0), ("epoch", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name}: expected at least {least}")

    config = load_config(options.config, options.overrides)
    require_valid(config)  # before the imports below, which take seconds

    from knoll.runner.data_report.samples import Samples
    from knoll.runner.inference.picture_grid import draw_grid, writable_names
    from knoll.runner.saving.whole_file import require_writable, written_whole

    out = options.out or Path(f"{config.name}_{options.set}{'_steps' if options.steps else ''}.png")
    require_writable("--out", out, (".png",))
    experiment = make_experiment(config.data)
    if options.seed is not None:
        experiment = replace(experiment, seed=options.seed)
    samples = Samples(experiment, options.set, options.count or (6 if options.steps else 24), options.epoch)
    columns = len(samples.transforms) + 1 if options.steps else 8
    drawn = steps(samples) if options.steps else grid(samples)

    texts = [text for cell in drawn for text in (cell.predicted, cell.truth)]
    font, writable = writable_names(texts)
    captions = [old if old == new else "no font for it" for old, new in zip(texts, writable, strict=True)]
    texts = zip(captions[::2], captions[1::2], strict=True)
    cells = [cell._replace(predicted=first, truth=second) for cell, (first, second) in zip(drawn, texts, strict=True)]
    with written_whole(out) as partial:
        draw_grid(cells, font, columns).save(partial)
    print(out)
    return 0


def grid(samples) -> list:
    """A cell for each sample: its class, and its name, which is printed too: a cell may lack the room for it."""
    from knoll.runner.data_report.samples import as_picture
    from knoll.runner.inference.picture_grid import Cell

    cells = []
    for number, shown in enumerate(samples.final(), 1):
        print(f"{number:3}  {shown.name}  ({shown.label})")
        short = PurePosixPath(shown.name).name
        cells.append(Cell(as_picture(shown.image, samples.transforms), shown.label, short, wrong=False))
    return cells


def steps(samples) -> list:
    """A row for each sample: as it is read, and after each transform, with its name and what the image then is."""
    from knoll.runner.data_report.samples import as_picture
    from knoll.runner.inference.picture_grid import Cell

    columns = []
    for number in range(len(samples.transforms) + 1):
        done = samples.transforms[:number]
        called = done[-1]["type"] if done else None
        columns.append(
            [
                Cell(as_picture(shown.image, done), called or shown.label, _size(shown.image), wrong=False)
                for shown in samples.after(done)
            ]
        )
    for number, shown in enumerate(samples.after([]), 1):
        print(f"{number:3}  {shown.name}  ({shown.label})")
    return [cell for row in zip(*columns, strict=True) for cell in row]


def _size(image) -> str:
    channels, height, width = image.shape
    return f"{channels} x {height} x {width}"


if __name__ == "__main__":
    from knoll.tools.cli import run

    sys.exit(run(main))
