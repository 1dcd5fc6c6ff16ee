"""Predict what pictures show, with the model and the preprocessing of a checkpoint.

    python tools/predict.py best.pt cat.jpg photos/
    python tools/predict.py best.pt photos/ --out predictions.csv --show predictions.png
    python tools/predict.py best.pt --random 24 --show sheet.png     # pictures of its evaluation set

Folders are searched with all that is below them. A picture in a folder that bears the name of a class is known to show
it: then mistakes are marked and the accuracy is printed. What cannot be read is named at the end, with exit status 1.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from argparse import BooleanOptionalAction
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from knoll.registry import UserError
from knoll.registry.errors import one_line
from knoll.tools.cli import EMA_HELP, NOT_UNICODE, importing, parser, run

MOST_SHOWN = 100


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("predict", __doc__)
    arguments.add_argument("checkpoint", type=Path, help="a checkpoint file")
    arguments.add_argument("images", nargs="*", help="image files and folders")
    arguments.add_argument("--top", type=int, default=3, metavar="K", help="classes to print per picture (default: 3)")
    arguments.add_argument("--out", type=Path, metavar="FILE", help="write all probabilities, to .csv or .json")
    arguments.add_argument("--show", type=Path, metavar="FILE.png", help="draw the pictures with their predictions")
    arguments.add_argument("--random", type=int, metavar="N", help="only N of the pictures, drawn at random")
    arguments.add_argument("--seed", type=int, default=0, help="of that drawing (default: 0)")
    arguments.add_argument("--set", metavar="NAME", help="the evaluation set (default: the first)")
    arguments.add_argument("--device", default="auto", help="cpu, cuda, ... (default: an accelerator if there is one)")
    arguments.add_argument("--batch", type=int, default=32, metavar="N", help="pictures at a time (default: 32)")
    arguments.add_argument("--ema", action=BooleanOptionalAction, help=EMA_HELP)
    arguments.add_argument("--trust", action="store_true", help="import the code that the checkpoint's config names")
    options = arguments.parse_intermixed_args(argv)

    with importing():
        from knoll.runner import Trained
        from knoll.runner.inference.picture_grid import draw_grid, writable_names
        from knoll.runner.inference.predict import count_endings, find_images, from_dataset, from_files, predict
        from knoll.runner.inference.preprocessing import Preprocessing
        from knoll.runner.saving.whole_file import require_writable, written_whole

    for name in ("top", "random", "batch"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"--{name}: expected at least 1")
    for option, path, endings in (("--out", options.out, (".csv", ".json")), ("--show", options.show, (".png",))):
        if path:
            require_writable(option, path, endings)
    files, passed_over = find_images(options.images)
    if not files and not options.random:
        raise UserError("name images or folders; or take pictures of the evaluation set, with --random 24")

    trained = Trained(options.checkpoint, ["compile=False"], options.device, options.trust, options.ema)
    prepare = Preprocessing(trained, options.set)
    if not prepare.name:
        raise UserError(f"{options.checkpoint} has no evaluation set, so it does not say how pictures are prepared")
    if trained.num_classes == 1 and not trained.multi_label:
        raise UserError("the model has one output, a measured value, and tells no classes: `test --out` writes it")
    names = trained.classes or [str(number) for number in range(trained.num_classes)]
    failures: list[str] = []
    drawing = random.Random(options.seed)
    print(f"{options.checkpoint}  step {trained.step}  {trained.which}".rstrip())
    if passed_over:
        print(f"passed over, for their names are not those of images: {count_endings(passed_over)}")
    if files:
        chosen = drawing.sample(files, min(options.random, len(files))) if options.random else files
        print(f"pictures as evaluation.{prepare.name} prepares them{prepare.note}")
        # A folder tells one class; what may show several is not known from it.
        samples = from_files(chosen, prepare, [] if trained.multi_label else names, failures)
    else:
        dataset = trained.evaluation_loaders([prepare.name])[prepare.name].dataset
        chosen = drawing.sample(range(len(dataset)), min(options.random, len(dataset)))
        print(f"{len(chosen)} of the {len(dataset)} pictures of evaluation.{prepare.name}", end=" ")
        print(f"({trained.sources[prepare.name]})")
        samples = from_dataset(dataset, chosen, prepare, failures)

    font, captions = writable_names(names) if options.show else (None, names)
    rows, cells, right = [], [], []
    for prediction in predict(trained, samples, failures, options.batch):
        print(one_line(line(prediction, names, options.top)))
        right += [] if prediction.correct is None else [prediction.correct]
        if options.out:
            rows.append(row(prediction, names))
        if options.show and len(cells) < MOST_SHOWN:
            cells.append(cell(prediction, captions))

    if right:
        print(f"accuracy: {sum(right) / len(right):.4f} ({sum(right)} of the {len(right)} whose class is known)")
    if rows:
        with written_whole(options.out) as partial:
            write(rows, partial)
        print(f"{len(rows)} predictions: {options.out}")
    if cells:
        if captions != names:
            print("no font here has all letters of the classes' names: some are shown by their numbers")
        with written_whole(options.show) as partial:
            draw_grid(cells, font).save(partial)
        total = len(chosen) - len(failures)
        print(f"{len(cells)} pictures{f' of {total}' if len(cells) < total else ''}: {options.show}")
    for failure in failures:
        print(one_line(f"not predicted: {failure}"), file=sys.stderr)
    return 1 if failures else 0


def line(prediction, names: list[str], count: int) -> str:
    """`photos/1.jpg  roses 97.1 %  tulips 2.0 %  daisy 0.4 %`, and what it is if that is not what is predicted."""
    told = [f"{names[number]} {prediction.probabilities[number]:.1%}" for number in prediction.top(count)]
    if not prediction.classes:
        told.insert(0, "none:")
    if prediction.correct is False:
        told.append(f"WRONG: it is {', '.join(names[number] for number in prediction.sample.truth) or 'none'}")
    return "  ".join([prediction.sample.name, *told])


def row(prediction, names: list[str]) -> dict[str, Any]:
    """What is written of a prediction: lists of classes, for there can be several; None where nothing is known."""
    truth = prediction.sample.truth
    return {
        "name": prediction.sample.name,
        "label": None if truth is None else [names[number] for number in truth],
        "prediction": [names[number] for number in prediction.classes],
        "correct": prediction.correct,
        "probabilities": dict(zip(names, prediction.probabilities, strict=True)),
    }


def write(rows: Sequence[dict], path: Path) -> None:
    """The rows as JSON; or as CSV much as `test --out` writes it, several classes joined by `|`."""
    if path.suffix.lower() == ".json":
        text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8", errors=NOT_UNICODE)
        return
    with open(path, "w", newline="", encoding="utf-8", errors=NOT_UNICODE) as file:
        writer = csv.writer(file)
        writer.writerow([*("name", "label", "prediction", "correct"), *(f"p({n})" for n in rows[0]["probabilities"])])
        for each in rows:
            correct = "" if each["correct"] is None else int(each["correct"])
            lists = ("|".join(each["label"] or []), "|".join(each["prediction"]))
            writer.writerow([each["name"], *lists, correct, *(f"{p:.6g}" for p in each["probabilities"].values())])


def cell(prediction, captions: list[str]):
    """The picture for the sheet, small, with what is predicted and what it is."""
    from knoll.runner.inference.picture_grid import Cell, small

    several = len(prediction.classes) > 1
    told = [
        captions[number] if several else f"{captions[number]} {prediction.probabilities[number]:.0%}"
        for number in prediction.classes
    ]
    truth = prediction.sample.truth
    known = "" if truth is None else "true: " + (", ".join(captions[number] for number in truth) or "none")
    picture = small(prediction.sample.picture)
    return Cell(picture, ", ".join(told) or "none", known, wrong=prediction.correct is False)


if __name__ == "__main__":
    sys.exit(run(main))
