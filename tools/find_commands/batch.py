"""Find a batch size: train with one after another, and look at memory and images per second.

    python tools/find.py batch configs/resnet34_flowers.py
    python tools/find.py batch configs/resnet34_flowers.py precision=bf16 --seconds 5 --largest 256

Some steps of the experiment with each size, reading, forward, backward and the optimizer's step, each in a process of
its own. The sizes are halves and doubles of what one step of the optimizer sees now; as long as they are smaller,
`accumulate` keeps that number, and with it learning rates, as they are. On a GPU it ends where the memory does, on a
CPU where larger batches are no faster. Prints a table, and what to add to the command that trains. Nothing is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from knoll.registry import load_config, require_valid
from knoll.tools.cli import OVERRIDES_HELP, parser

if TYPE_CHECKING:
    from knoll.runner.finding.batch_finder import Measured

MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("find batch", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument("--seconds", type=float, default=2.0, metavar="S", help="for each size (default: 2)")
    arguments.add_argument("--largest", type=int, metavar="N", help="the largest batch to try")
    options = arguments.parse_intermixed_args(argv)

    config = load_config(options.config, options.overrides)
    require_valid(config)  # before the imports below, which take seconds

    from knoll.runner.finding.batch_finder import fast_enough, images_in_a_step, measured_sizes

    sizes = []
    print(f"{'batch_size':>10}  {'accumulate':>10}  {'memory':>10}  {'images/s':>10}")
    for one in measured_sizes(config, options.seconds, options.largest):
        sizes.append(one)
        memory = f"{one.memory / MIB:.0f} MiB" if one.memory else ""
        figures = f"{memory:>10}  {one.speed:10.1f}" if one.fits else "not enough memory"
        print(f"{one.batch_size:10}  {one.accumulate:10}  {figures}", flush=True)
    print()
    print("\n".join(in_words(sizes, fast_enough(sizes), images_in_a_step(config))))
    return 0


def in_words(sizes: Sequence[Measured], fast: Measured, total: int) -> Iterator[str]:
    """Which size to take, and how."""
    fitting = [each for each in sizes if each.fits]
    if not sizes[-1].fits:
        yield f"largest that fits:   {fitting[-1].batch_size}"
    yield f"smallest that is fast: {fast.batch_size} (95 % of the best speed or more)"
    same = [each for each in fitting if each.batch_size <= min(total, fast.batch_size)]
    if same:
        yield f"\nWith {total} images in a step of the optimizer, as now:\n"
        yield f"    train.batch_size={same[-1].batch_size} accumulate={same[-1].accumulate}"
    if fast.batch_size > total:
        yield f"\nFaster, but with {fast.batch_size} images in a step, for which the learning rate is another:\n"
        yield f"    train.batch_size={fast.batch_size} accumulate=1"


if __name__ == "__main__":
    from knoll.tools.cli import run

    sys.exit(run(main))
