"""Write the model of a checkpoint to a file that runs without Knoll.

    python tools/export.py best.pt --to model.onnx                    # for ONNX Runtime: pip install "knoll[onnx]"
    python tools/export.py best.pt --to model.pt2 model.safetensors   # for torch.export.load; and the bare weights

The file takes batches of any number of images and returns logits, in fp32. It carries, as JSON under the name `knoll`,
the classes, the preprocessing, the model's config and the metrics of its step. It is loaded again and compared with the
model on random and on real images: those of --images, else the first of the checkpoint's evaluation set.
"""

from __future__ import annotations

import sys
from argparse import BooleanOptionalAction
from collections.abc import Sequence
from pathlib import Path

from knoll.registry import UserError
from knoll.tools.cli import EMA_HELP, parser, run

ENDINGS = (".pt2", ".onnx", ".safetensors")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("export", __doc__)
    arguments.add_argument("checkpoint", type=Path, help="a checkpoint file")
    arguments.add_argument("--to", type=Path, nargs="+", required=True, metavar="FILE", help=", ".join(ENDINGS))
    arguments.add_argument("--images", nargs="+", default=[], metavar="PLACE", help="files or folders to compare on")
    arguments.add_argument("--device", default="cpu", help="where the model runs, and a .pt2 will (default: cpu)")
    arguments.add_argument("--ema", action=BooleanOptionalAction, help=EMA_HELP)
    arguments.add_argument("--trust", action="store_true", help="import the code that the checkpoint's config names")
    options = arguments.parse_args(argv)

    import torch

    from knoll.runner import Trained
    from knoll.runner.inference.export import TOLERANCE, describe, difference, load, real_images, require_onnx, save
    from knoll.runner.inference.predict import find_images
    from knoll.runner.inference.preprocessing import Preprocessing
    from knoll.runner.saving.whole_file import require_writable, written_whole

    for path in options.to:
        require_writable("--to", path, ENDINGS)
        if path.suffix == ".onnx":
            require_onnx()
    files, _ = find_images(options.images)

    trained = Trained(options.checkpoint, ["compile=False"], options.device, options.trust, options.ema)
    prepare = Preprocessing(trained)
    model = trained.forward.model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    real, where = real_images(trained, prepare, files)
    shape = prepare.input.shape if real is None else tuple(real.shape[1:])
    description = describe(trained, prepare, shape)
    print(f"{options.checkpoint}  step {trained.step}  {trained.which}".rstrip())
    print(f"images of the shape (batch, {', '.join(map(str, shape))}); compared on random ones and real ones: {where}")
    if trained.forward.precision != "fp32":
        print(f"in fp32; its metrics were measured in {trained.forward.precision}")

    compared = {"random": torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))}
    if real is not None:
        compared["real"] = real
    for path in options.to:
        with written_whole(path) as partial:
            save(partial, model, shape, description)
            exported = load(partial, trained)
            found = {kind: difference(model, exported, each.to(trained.device)) for kind, each in compared.items()}
            told = ", ".join(f"{value:.1e} on {kind} images" for kind, value in found.items())
            if not all(value <= TOLERANCE for value in found.values()):
                raise UserError(
                    f"{path} is not written: its logits differ from the model's, relative to the largest, by {told}; "
                    f"{TOLERANCE:.0e} is allowed"
                )
        size = path.stat().st_size / 2**20
        print(f"{path}: {size:.2f} MiB; largest relative difference {told} (allowed: {TOLERANCE:.0e})")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
