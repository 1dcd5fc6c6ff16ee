"""Find a learning rate: train while it rises, and look at where the loss falls and where it explodes.

    python tools/find.py lr configs/resnet34_flowers.py
    python tools/find.py lr configs/resnet34_flowers.py train.batch_size=16 --steps 200 --start 1e-5
    python tools/find.py lr configs/resnet34_flowers.py --out curve.csv

A hundred steps of the experiment with all its settings but the schedule. Prints the loss against the learning rate, the
rates that it suggests, and what to add to the command that trains. The run is kept in a temporary folder that is
removed; the config stays as it is.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from knoll.registry import load_config, require_valid
from knoll.tools.cli import OVERRIDES_HELP, parser, place

if TYPE_CHECKING:
    from knoll.runner.finding.lr_finder import Curve, Suggestions

ROWS = 25
WIDTH = 50


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("find lr", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument("--steps", type=int, default=100, metavar="N", help="how many (default: 100)")
    arguments.add_argument("--start", type=float, default=1e-7, metavar="LR", help="the first rate (default: 1e-7)")
    arguments.add_argument("--end", type=float, default=10.0, metavar="LR", help="the last rate (default: 10)")
    arguments.add_argument("--out", type=place, metavar="FILE.csv", help="write the rates and losses of all steps")
    options = arguments.parse_intermixed_args(argv)

    config = load_config(options.config, options.overrides)
    require_valid(config)  # before the imports below, which take seconds

    from knoll.runner.finding.lr_finder import learning_rate_curve, rate_keys, suggest
    from knoll.runner.saving.whole_file import require_writable, written_whole

    if options.out:
        require_writable("--out", options.out, (".csv",))
    curve = learning_rate_curve(config, options.steps, options.start, options.end)
    if os.environ.get("RANK", "0") != "0":  # of several processes all have seen the same
        return 0
    if options.out:
        with written_whole(options.out) as partial:
            write(curve, partial)
    suggestions = suggest(curve)
    print("\n".join(drawn(curve, suggestions)))
    print()
    print("\n".join(in_words(curve, suggestions, rate_keys(config))))
    return 0


def drawn(curve: Curve, suggestions: Suggestions) -> Iterator[str]:
    """The smoothed loss as bars, a line for every few steps, and one for each suggestion."""
    low, high = curve.smoothed.min(), curve.smoothed[0]
    named = dict(steepest=suggestions.steepest, lowest=suggestions.lowest)
    marked = {name: int(abs(curve.rates - value).argmin()) for name, value in named.items()}
    every = max(1, round(len(curve.rates) / ROWS))
    yield f"{'lr':>8}  {'loss':>8}"
    for step in sorted({*range(0, len(curve.rates), every), *marked.values()}):
        rate, loss = curve.rates[step], curve.smoothed[step]
        here = ", ".join(name for name, place in marked.items() if place == step)
        share = (loss - low) / (high - low)
        bar = "#" * round(WIDTH * min(max(share, 0.0), 1.0)) + (">" if share > 1.02 else "")
        yield f"{rate:8.1e}  {loss:8.4f}  {bar}{f'  <- {here}' if here else ''}".rstrip()


def in_words(curve: Curve, suggestions: Suggestions, keys: Sequence[str]) -> Iterator[str]:
    """The suggestions, which of them to take, and how."""
    yield f"steepest   {suggestions.steepest:.1e}   where the loss falls fastest"
    yield f"lowest/10  {suggestions.tenth:.1e}   a tenth of the rate at which the loss is smallest"
    if len(curve.rates) == curve.steps and curve.smoothed.argmin() > 0.95 * curve.steps:
        yield "note: the loss still falls at the last rate: a larger --end would tell more"
    yield "\nTo begin with:\n"
    yield "    " + " ".join(f"{key}={suggestions.tenth:.1e}" for key in keys)


def write(curve: Curve, path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["lr", "loss", "smoothed"])
        rows.writerows(zip(*(each.tolist() for each in curve[:3]), strict=True))


if __name__ == "__main__":
    from knoll.tools.cli import run

    sys.exit(run(main))
