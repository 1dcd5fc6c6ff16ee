"""Measure a checkpoint on its evaluation sets, or on any other.

    python tools/test.py runs/resnet34_flowers/20260101-120000/checkpoints/best.pt
    python tools/test.py best.pt --set val --out predictions.csv
    python tools/test.py best.pt evaluation.val.dataset.root=data/other_photos
    python tools/test.py configs/resnet20_cifar10.py weights=resnet20-12fca82f.th
    torchrun --nproc-per-node=2 tools/test.py best.pt

The checkpoint holds the config; overrides change it. Metrics are printed with all their digits, and compared with
those that training recorded for the same step. Of a config, the `weights` are measured: files that others trained.

A line of predictions has the image's class, the predicted one and all probabilities; if the model answers yes or no for
each class, all classes that are more probable than not, joined by `|`; if it learned measured values, those.
"""

from __future__ import annotations

import argparse
import csv
import sys
from argparse import BooleanOptionalAction
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from knoll.registry import UserError
from knoll.tools.cli import EMA_HELP, NOT_UNICODE, OVERRIDES_HELP, importing, parser, run

if TYPE_CHECKING:
    from knoll.runner import Trained


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("test", __doc__)
    arguments.add_argument("checkpoint", help="a checkpoint file, or a config with weights")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument("--set", action="append", default=[], metavar="NAME", help="only this evaluation set")
    arguments.add_argument("--out", type=Path, metavar="FILE.csv", help="write a line for every image")
    arguments.add_argument("--device", default="auto", help="cpu, cuda, ... (default: an accelerator if there is one)")
    arguments.add_argument("--ema", action=BooleanOptionalAction, help=EMA_HELP)
    arguments.add_argument("--trust", action="store_true", help="import the code that the checkpoint's config names")
    options = arguments.parse_intermixed_args(argv)
    if extra := [word for word in options.overrides if "=" not in word]:
        raise UserError(f"{extra[0]} is not key=value: name one checkpoint at a time")

    with importing():
        from knoll.runner import Trained
        from knoll.runner.evaluate import evaluate
        from knoll.runner.labels import all_labels, meaning_of
        from knoll.runner.processes.distributed import join
        from knoll.runner.saving.whole_file import require_writable, written_whole
        from knoll.runner.views import build_views

    if options.out:
        require_writable("--out", options.out, (".csv",))

    world = join()
    trained = Trained(options.checkpoint, options.overrides, options.device, options.trust, options.ema, world)
    loaders = trained.evaluation_loaders(options.set)
    classes = trained.classes or [str(number) for number in range(trained.num_classes)]
    meanings = {name: meaning_of(all_labels(loader), trained.multi_label) for name, loader in loaders.items()}
    images = {f"the number of images of {name}": len(loader.dataset) for name, loader in loaders.items()}
    world.require_same({"the step of the checkpoint": trained.step, **images})
    rows: dict[tuple[str, int], dict] = {}

    def keep(name: str, batch, logits) -> None:
        told = predictions(loaders[name].dataset, name, classes, batch, logits, meanings[name])
        rows.update({(name, row["index"]): row for row in told})  # of several processes one may see a batch twice

    views = build_views(trained.experiment.evaluation, loaders, trained.forward.model, trained.loss)
    on_batch = keep if options.out else None
    measured = trained.forward, loaders, trained.loss, trained.new_metrics(), on_batch, views
    with world.explained("Start all of them again"):
        metrics = evaluate(*measured, suffix=trained.suffix, world=world)
        rows = {key: row for part in world.collect(rows) for key, row in part.items()}
    if world.is_first:
        report(trained, metrics, views, options)
        if options.out:
            order = list(loaders)
            with written_whole(options.out) as partial:
                write([rows[key] for key in sorted(rows, key=lambda key: (order.index(key[0]), key[1]))], partial)
            print(f"{len(rows)} predictions: {options.out}")
    return 0


def report(trained: Trained, metrics: dict[str, float], views: Mapping, options: argparse.Namespace) -> None:
    """Print what was measured, of what data, and what training had recorded where that was another."""
    print(*trained.report, sep="\n", end="\n" if trained.report else "")
    if not trained.report:
        print(f"{options.checkpoint}  step {trained.step}  {trained.which}".rstrip())
    for name, value in metrics.items():
        measured = name.partition("/")[0]
        several = measured.removesuffix(trained.suffix) in views
        source = trained.sources[measured] + (", mean of several views" if several else "")
        recorded = trained.recorded.get(name)
        note = "" if recorded in (None, value) or options.overrides else f"  (training recorded {recorded!r})"
        print(f"{name}: {value!r}  ({source}){note}")


def predictions(dataset, name: str, classes: list[str], batch, logits, meaning: str) -> list[dict]:
    """A row for every image of a batch: what it is called, its label, and what the model makes of it."""
    describe = {"class": _one_class, "labels": _several_labels, "values": _measured_values}[meaning]
    rows = []
    told = zip(batch.indices.tolist(), describe(classes, batch.labels.cpu(), logits.cpu()), strict=True)
    for index, columns in told:
        called = dataset.name(index) if hasattr(dataset, "name") else index
        rows.append({"set": name, "index": index, "name": called, **columns})
    return rows


def _one_class(classes: list[str], labels, logits) -> Iterator[dict]:
    numbers = labels.argmax(1) if labels.ndim == 2 else labels  # of shares of classes the largest counts
    for label, probabilities in zip(numbers.tolist(), logits.softmax(1).tolist(), strict=True):
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        yield {
            "label": classes[label],
            "prediction": classes[best],
            "correct": int(best == label),
            **_probabilities(classes, probabilities),
        }


def _several_labels(classes: list[str], labels, logits) -> Iterator[dict]:
    for label, probabilities in zip(labels.tolist(), logits.sigmoid().tolist(), strict=True):
        shown, found = (
            [each for each, value in zip(classes, row, strict=True) if value > 0.5] for row in (label, probabilities)
        )
        yield {
            "label": "|".join(shown),
            "prediction": "|".join(found),
            "correct": int(shown == found),
            **_probabilities(classes, probabilities),
        }


def _measured_values(classes: list[str], labels, logits) -> Iterator[dict]:
    for label, outputs in zip(labels.tolist(), logits.tolist(), strict=True):
        yield {
            **{f"label({each})": f"{value:.9g}" for each, value in zip(classes, label, strict=True)},
            **{f"prediction({each})": f"{value:.9g}" for each, value in zip(classes, outputs, strict=True)},
        }


def _probabilities(classes: list[str], probabilities: list[float]) -> dict[str, str]:
    return {f"p({each})": f"{p:.6g}" for each, p in zip(classes, probabilities, strict=True)}


def write(rows: list[dict], path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors=NOT_UNICODE) as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(run(main))
