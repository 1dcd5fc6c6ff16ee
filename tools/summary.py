"""Show what the model of a config consists of: shapes, parameters, FLOPs and memory by layer, or a picture of it.

    python tools/summary.py configs/resnet34_flowers.py
    python tools/summary.py configs/resnet34_flowers.py model.backbone.depth=50 --shape 3 224 224 --depth 2
    python tools/summary.py configs/resnet34_flowers.py --graph resnet34.svg

Nothing is trained and no data is read: one forward pass of zeros, in evaluation mode, on the CPU. Without --shape, an
image has the shape that the config's transforms make of every picture, or else the backbone's example_shape.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from knoll.registry import UserError, load_config, make_experiment, require_valid
from knoll.tools.cli import OVERRIDES_HELP, parser, run

MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("summary", __doc__)
    arguments.add_argument("config", help="a config file: .py or .yaml")
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    arguments.add_argument("--depth", type=int, metavar="N", help="levels of modules (default: 3; a graph: all)")
    arguments.add_argument("--graph", type=Path, metavar="FILE.svg", help="draw the model as a graph")
    arguments.add_argument("--batch", type=int, default=1, metavar="N", help="images in the batch (default: 1)")
    arguments.add_argument("--shape", type=int, nargs=3, metavar=("C", "H", "W"), help="shape of an image")
    options = arguments.parse_intermixed_args(argv)
    for name in ("depth", "batch", "shape"):
        numbers = getattr(options, name)
        if numbers is not None and min(numbers if isinstance(numbers, list) else [numbers]) < 1:
            raise UserError(f"--{name}: expected numbers of at least 1")

    config = load_config(options.config, options.overrides)
    require_valid(config)  # before the imports below, which take seconds

    import torch

    from knoll.models.freezing import Freezing
    from knoll.models.graph import trace
    from knoll.models.graph_drawing import draw
    from knoll.models.summary import summarize
    from knoll.registry import MODELS
    from knoll.runner.inference.preprocessing import example_shape, find_input
    from knoll.runner.saving.whole_file import require_writable, written_whole

    if options.graph:
        require_writable("--graph", options.graph, (".svg",))
    experiment = make_experiment(config.data)
    model = MODELS.build(experiment.model).eval()
    Freezing(model, experiment.freeze, to_steps=lambda duration: 1)  # as when a run begins
    if options.shape:
        shape, source = tuple(options.shape), "from --shape"
    else:
        first = next(iter(experiment.evaluation), "")
        try:
            shape, source, *_ = find_input(model, example_shape(model), experiment, first)
        except UserError as error:
            raise UserError(f"{error}\nAnother shape can be given: --shape C H W") from error
    images = torch.zeros(options.batch, *shape)
    print(f"{config.name}: images of the shape {tuple(images.shape)} ({source})\n")
    try:
        rows = summarize(model, images)
    except UserError:
        raise
    except Exception as error:  # a model's forward can raise anything
        raise UserError(f"the model fails on images {tuple(images.shape)}: {type(error).__name__}: {error}") from error
    print(table(rows, options.depth or 3))
    print("\n" + totals(rows[0], model, options.batch))
    if options.graph:
        with written_whole(options.graph) as partial:
            partial.write_text(draw(trace(model, images, options.depth), config.name), encoding="utf-8")
        print(f"graph: {options.graph}")
    return 0


def table(rows: Sequence, depth: int) -> str:
    """The rows down to a depth, in columns; what lies deeper is in the figures of what holds it."""
    lines = [("name", "type", "output shape", "parameters", "FLOPs", "activations")]
    for row in rows:
        if 0 < row.depth <= depth:
            figures = (f"{row.parameters:,}", f"{row.flops:,}", f"{row.activations / MIB:.3f} MiB")
            lines.append((row.name, row.type, row.shape or "not called", *figures))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([*map(str.ljust, line[:3], widths[:3]), *map(str.rjust, line[3:], widths[3:])]) for line in lines
    )


def totals(whole, model, batch: int) -> str:
    """The sums over the model, and what is meant by them."""
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    size = sum(each.numel() * each.element_size() for each in model.parameters()) / MIB
    images = "one image" if batch == 1 else f"a batch of {batch} images"
    return f"""\
parameters:   {whole.parameters:,}, of which {trained:,} are trained when a run begins; {size:.2f} MiB
FLOPs:        {whole.flops:,} for {images}, or {whole.flops // 2:,} multiply-adds
activations:  {whole.activations / MIB:.2f} MiB for {images}

FLOPs are the forward pass's as torch counts them: a multiply-add is two, and only convolutions, matrix products and
attention are counted. Activations are what a forward pass keeps in memory for the backward pass, in float32, without
the masks of dropout. A parameter that several modules share is counted once. A row includes what lies below it."""


if __name__ == "__main__":
    sys.exit(run(main))
