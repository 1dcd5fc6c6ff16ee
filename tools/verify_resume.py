"""Compare a run that is interrupted and resumed with one that is not, bit for bit.

    python tools/verify_resume.py configs/resnet34_flowers.py
    python tools/verify_resume.py configs/resnet34_flowers.py --steps 20 --at 3 --at 11 --workers 0
    python tools/verify_resume.py my_experiment.py plugins='["my_code"]' --kill

Trains a few steps of the experiment twice: once as a whole, and once stopped after a step, saved, and resumed from the
checkpoint. Batches, logits, loss, model, optimizer, hooks, metrics and random states must have the same bits in every
step. If they have not, it says in which step and entry they first differ, and what that means: a hook, a model, a loss
or a transform of one's own that keeps something which the checkpoint does not hold. The runs are kept in a temporary
folder that is removed, and evaluate a few batches of each set.

Exit status 0 if all is equal, 1 if something differs, 2 for a mistake in the config or the options.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from knoll.registry import load_config, require_valid
from knoll.tools.cli import OVERRIDES_HELP, parser, run

if TYPE_CHECKING:
    from knoll.runner.verification import Report


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("verify_resume", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument("--steps", type=int, default=8, metavar="N", help="of the whole run (default: 8)")
    arguments.add_argument(
        "--at", type=int, action="append", default=[], metavar="STEP", help="stop after it; may be given several times"
    )
    arguments.add_argument("--workers", type=int, metavar="N", help="num_workers once resumed (default: the same)")
    arguments.add_argument("--kill", action="store_true", help="stop by SIGKILL, every part in a process of its own")
    options = arguments.parse_intermixed_args(argv)

    config = load_config(options.config, options.overrides)
    require_valid(config)  # before the imports below, which take seconds

    from knoll.runner.verification import verify

    report = verify(config, options.steps, options.at, options.workers, options.kill)
    print(*in_words(report), sep="\n")
    return 0 if report.is_equal else 1


def in_words(report: Report) -> list[str]:
    """A line for each part of the run that was interrupted, and what came out."""
    ended = "killed" if report.killed else "stopped"
    lines = [f"{'steps':<10}{'':<12}workers  entries compared"]
    for part in report.parts:
        how = ended if part.last < report.steps else "to the end"
        lines.append(f"{f'{part.first} to {part.last}':<10}{how:<12}{part.workers:<9}{part.entries:,}")
    if report.is_equal:
        stops = ", ".join(map(str, report.stops))
        return [*lines, f"equal: {ended} after step {stops} and resumed, the run has the bits of one that was not"]
    return [*lines[:-1], "", "it differs:", *report.explanation]


if __name__ == "__main__":
    sys.exit(run(main))
