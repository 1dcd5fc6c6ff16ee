"""Measure a checkpoint on its evaluation sets, or on any other.

    python tools/test.py runs/resnet34_flowers/20260101-120000/checkpoints/best.pt
    python tools/test.py best.pt --set val --out predictions.csv
    python tools/test.py best.pt evaluation.val.dataset.root=data/other_photos
    python tools/test.py configs/resnet20_cifar10.py weights=resnet20-12fca82f.th

The checkpoint holds the config; overrides change it. Metrics are printed with all their digits, and compared with
those that training recorded for the same step. Of a config, the `weights` are measured: files that others trained.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from knoll.registry import UserError
from knoll.tools.cli import OVERRIDES_HELP, parser, run


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("test", __doc__)
    arguments.add_argument("checkpoint", help="a checkpoint file, or a config with weights")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument("--set", action="append", default=[], metavar="NAME", help="only this evaluation set")
    arguments.add_argument("--out", type=Path, metavar="FILE.csv", help="write a line for every image")
    arguments.add_argument("--device", default="auto", help="cpu, cuda, ... (default: an accelerator if there is one)")
    arguments.add_argument("--trust", action="store_true", help="import the code that the checkpoint's config names")
    options = arguments.parse_intermixed_args(argv)
    if extra := [word for word in options.overrides if "=" not in word]:
        raise UserError(f"{extra[0]} is not key=value: name one checkpoint at a time")
    if options.out and not options.out.absolute().parent.is_dir():
        raise UserError(f"--out: there is no folder {options.out.absolute().parent}")

    from knoll.runner import Trained
    from knoll.runner.evaluate import evaluate

    trained = Trained(options.checkpoint, options.overrides, options.device, options.trust)
    loaders = trained.evaluation_loaders(options.set)
    rows: list[dict] = []

    def keep(name: str, batch, logits) -> None:
        rows.extend(predictions(trained, loaders[name].dataset, name, batch, logits))

    metrics = evaluate(
        trained.forward, loaders, trained.loss, trained.new_metrics(), on_batch=keep if options.out else None
    )
    print(*trained.report, sep="\n", end="\n" if trained.report else "")
    if not trained.report:
        print(f"{options.checkpoint}  step {trained.step}")
    for name, value in metrics.items():
        source = trained.sources[name.partition("/")[0]]
        recorded = trained.recorded.get(name)
        note = "" if recorded in (None, value) or options.overrides else f"  (training recorded {recorded!r})"
        print(f"{name}: {value!r}  ({source}){note}")
    if options.out:
        write(rows, options.out)
        print(f"{len(rows)} predictions: {options.out}")
    return 0


def predictions(trained, dataset, name: str, batch, logits) -> list[dict]:
    """A row for every image of a batch: what it is called, its label, the prediction and all probabilities.

    Where an image may have several labels, they are named with spaces between.
    """
    classes, rows = trained.classes or [str(number) for number in range(logits.shape[1])], []
    likely = trained.probabilities(logits).cpu().tolist()
    for index, label, probabilities in zip(batch.indices.tolist(), batch.labels.tolist(), likely, strict=True):
        truth = names_of(label, classes, trained.multi_label)
        prediction = names_of(probabilities, classes, trained.multi_label)
        rows.append(
            {
                "set": name,
                "index": index,
                "name": dataset.name(index) if hasattr(dataset, "name") else index,
                "label": truth,
                "prediction": prediction,
                "correct": int(prediction == truth),
                **{f"p({each})": f"{p:.6g}" for each, p in zip(classes, probabilities, strict=True)},
            }
        )
    return rows


def names_of(values: int | list[float], classes: list[str], several: bool) -> str:
    """The class of a label or of probabilities: its number, the largest, or all above one half."""
    if isinstance(values, int):
        return classes[values]
    if several:
        return " ".join(name for name, value in zip(classes, values, strict=True) if value > 0.5)
    return classes[max(range(len(values)), key=values.__getitem__)]


def write(rows: list[dict], path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(run(main))
