"""Train the experiment of a config.

    python tools/train.py configs/resnet34_flowers.py
    python tools/train.py configs/resnet34_flowers.py optimizer.lr=0.05 duration=3ep
    python tools/train.py configs/resnet34_flowers.py --resume
    python tools/train.py configs/resnet34_flowers.py --resume=must
    torchrun --nproc-per-node=2 tools/train.py configs/resnet34_flowers.py

The config is checked as a whole first: every mistake is listed, with its file and line, before any data is read.
A run is kept in runs/<config name>/<time>: its config, log, TensorBoard files and checkpoints.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from knoll.registry import Config, UserError, load_config, require_valid
from knoll.tools.cli import OVERRIDES_HELP, importing, parser, place, run

if TYPE_CHECKING:
    from knoll.runner import Runner

_LONGEST = 100 * 365 * 24 * 3600


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("train", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument("--work-dir", type=place, metavar="DIR", help="keep the run here")
    arguments.add_argument(
        "--resume",
        nargs="?",
        type=lambda text: str(place(text)),
        const="auto",
        metavar="PATH",
        help="continue a run: the newest of this config (or of --work-dir), or that of a checkpoint or run folder. "
        "Where there is nothing to continue a new run begins; with --resume=must it is an error",
    )
    arguments.add_argument(
        "--allow-world-size",
        action="store_true",
        help="continue with another number of processes, if a step stays what it was: processes x train.batch_size x "
        "accumulate, of which the latter two may then be changed",
    )
    arguments.add_argument(
        "--time-limit",
        type=_seconds,
        metavar="3h50m",
        help="save and stop with exit status 75 after so long, counted from now, for --resume to continue",
    )
    options = arguments.parse_intermixed_args(_resume_alone(sys.argv[1:] if argv is None else argv))
    deadline = time.monotonic() + options.time_limit if options.time_limit else None

    if "RANK" in os.environ:  # torch, once imported, advises against `find_unused_parameters`: it is there on purpose
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        with importing():
            config = load_config(options.config, options.overrides)
            require_valid(config)  # before what the imports below bring, which takes seconds
            runner = _build(config, options)
        runner.train(deadline)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("--resume continues a run from its last checkpoint, if it has one") from None
    except BrokenPipeError as error:  # else it would pass for a tool whose output is read no further: exit status 0
        raise UserError("the run is not finished: what it prints has no reader any more (Broken pipe)") from error
    if runner.world.is_first and runner.hooks.save:
        print(f"checkpoint: {runner.work_dir / 'checkpoints' / 'last.pt'}")
    return 0


def _build(config: Config, options: argparse.Namespace) -> Runner:
    from knoll.runner import Runner
    from knoll.runner.saving.resume import find_checkpoint, folder_of

    folder, checkpoint = options.work_dir, None
    if options.resume:
        checkpoint = find_checkpoint(options.resume, config.name, folder)
        if checkpoint is None:
            print("nothing to resume: the newest run of this config has no checkpoint; starting a new run")
        else:
            folder = folder or folder_of(checkpoint)
    return Runner(config, folder, checkpoint, options.allow_world_size)


def _resume_alone(argv: Sequence[str]) -> list[str]:
    """Mark a --resume that stands before an override or a config: argparse would take that for its PATH."""

    def is_no_run(word: str) -> bool:
        is_override = "=" in word and "/" not in word.partition("=")[0] and not Path(word).exists()
        return is_override or word.endswith((".py", ".yaml", ".yml"))

    pairs = zip(argv, [*argv[1:], ""], strict=True)
    return ["--resume=auto" if word == "--resume" and is_no_run(after) else word for word, after in pairs]


def _seconds(text: str) -> int:
    """ "3h50m", "90m", "1d12h", "45s"."""
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    days, hours, minutes, seconds = (int(number or 0) for number in found.groups()) if found else (0, 0, 0, 0)
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as 3h50m, 90m, 1d12h or 45s")
    if total > _LONGEST:  # the system's clocks end somewhere
        raise argparse.ArgumentTypeError(f"{text!r} is more than a hundred years")
    return total


if __name__ == "__main__":
    sys.exit(run(main))
