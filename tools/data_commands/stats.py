"""Say what is in the data of a config: counts, sizes, mean and deviation, duplicates, what cannot be read.

    python tools/data.py stats configs/resnet34_flowers.py
    python tools/data.py stats configs/resnet34_flowers.py vars.crop=96 --workers 4 --json report.json

Every sample of the training set and of all evaluation sets is read to its end. `mean=` and `std=` are printed as a
config's Normalize takes them: of the training images, after all transforms before Normalize that draw nothing at
random; every image counts the same, whatever its size. Duplicates are found by the bytes of the files, or by the
pixels where images are arrays.

Exit status 1 if there is something that a run would end with: a file that cannot be read, a label that is no class,
classes that differ.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from knoll.registry import UserError, load_config, make_experiment, require_valid
from knoll.tools.cli import OVERRIDES_HELP, parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("data stats", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument(
        "--workers", type=int, metavar="N", help="processes that read (default: one per core, up to 8)"
    )
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write all that was found, and every name")
    options = arguments.parse_intermixed_args(argv)
    if options.workers is not None and options.workers < 0:
        raise UserError("--workers: expected 0 or more")

    config = load_config(options.config, options.overrides)
    require_valid(config)  # before the imports below, which take seconds

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from knoll.runner.data_report.report import make_report
    from knoll.runner.data_report.sets import build_sets
    from knoll.runner.data_report.text import in_words
    from knoll.runner.saving.whole_file import require_writable, written_whole

    if options.json:
        require_writable("--json", options.json, (".json",))
    experiment = make_experiment(config.data)
    sets = build_sets(experiment)
    workers = min(os.cpu_count() or 1, 8) if options.workers is None else options.workers
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {name: bar.add_task(f"reading {name}", total=len(own.dataset)) for name, own in sets.items()}
        report = make_report(experiment, sets, workers, lambda name, count: bar.advance(tasks[name], count))

    print(f"{config.name}: {', '.join(f'{name} ({own.source})' for name, own in sets.items())}\n")
    print("\n".join(in_words(report)))
    if options.json:
        with written_whole(options.json) as partial:
            partial.write_text(json.dumps(dataclasses.asdict(report), indent=1, ensure_ascii=False) + "\n", "utf-8")
        print(f"\nall of it: {options.json}", file=sys.stderr)
    return 1 if report.wrong else 0
