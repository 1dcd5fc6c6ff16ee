"""A trained model in a file of its own, with all that is needed to use it: torch.export, ONNX, safetensors.

Every file carries the same description, as JSON under the name `knoll`: a .pt2 among its extra files, an .onnx and a
.safetensors in their metadata.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...models.weights import load_weights
from ...registry import MODELS, UserError
from .preprocessing import Preprocessing
from .trained import Trained

Call = Callable[[Tensor], Tensor]
Shape = tuple[int, ...]

NAME = "knoll"
PACKAGES = ("knoll", "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "safetensors")
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ONNX_LIMIT = 2**31  # bytes that one file in protobuf's format can have

# The largest difference of a logit that rounding explains, over the largest logit (or 1 if they are all smaller): a
# convolution that adds its products in another order moves the sixth or seventh digit of fp32, and layers add up.
TOLERANCE = 1e-4


def real_images(
    trained: Trained, prepare: Preprocessing, files: Sequence[Path], most: int = 16
) -> tuple[Tensor | None, str]:
    """Real images (N, C, H, W), all of the first one's shape: from files, or else the first of the evaluation set.

    Returns:
        the images, or None if the evaluation set's data is not there; and in words where they are from, or why not.

    Raises:
        UserError: a file cannot be read.
    """
    if files:
        images, where = [prepare(prepare.fit(prepare.open(file))) for file in files[:most]], "--images"
    elif not prepare.name:
        return None, "none, for the checkpoint has no evaluation set"
    else:
        try:
            dataset = trained.evaluation_loaders([prepare.name])[prepare.name].dataset
            images = [prepare(dataset[index][0]) for index in range(min(most, len(dataset)))]
        except UserError as error:
            return None, f"none, for evaluation.{prepare.name} is not there: {error}"
        where = f"evaluation.{prepare.name} ({trained.sources[prepare.name]})"
    alike = [image for image in images if image.shape == images[0].shape]
    return torch.stack(alike), f"{len(alike)} of {where}"


def describe(trained: Trained, prepare: Preprocessing, shape: Shape) -> dict[str, Any]:
    """Classes, preprocessing, model, and where it is from: plain data.

    Args:
        shape: (C, H, W) of an image.
    """
    normalize = next((each for each in reversed(prepare.configs) if each["type"] == "Normalize"), {})
    return {
        "name": trained.name,
        "step": trained.step,
        "averaged": trained.suffix != "",
        "classes": trained.classes,
        "num_classes": trained.num_classes,
        "multi_label": trained.multi_label,
        "input": {"name": "images", "shape": ["batch", *shape], "dtype": "float32"},
        "output": {"name": "logits", "shape": ["batch", trained.num_classes], "dtype": "float32"},
        "preprocessing": {
            "set": prepare.name or None,
            "mode": prepare.input.mode,
            "resize_first": prepare.input.size,
            "transforms": prepare.configs,
            "size": shape[1:],
            "mean": normalize.get("mean"),
            "std": normalize.get("std"),
        },
        "model": trained.experiment.model,
        "metrics": {
            metric: {"value": value, "data": trained.sources[metric.partition("/")[0]]}
            for metric, value in trained.recorded.items()
        },
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def require_onnx() -> None:
    """Refuse to begin what would end at a missing package.

    Raises:
        UserError: a package that ONNX needs is not installed.
    """
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f'.onnx needs {", ".join(missing)}, not installed here: pip install "knoll[onnx]"')


def save(path: Path, model: nn.Module, shape: Shape, description: dict[str, Any]) -> None:
    """Write a model in the format that the file's ending names. The number of images in a batch stays free.

    Args:
        model: in evaluation mode, in fp32.
        shape: (C, H, W) of an image.

    Raises:
        UserError: the model cannot be written so; says why.
    """
    about = json.dumps(description, ensure_ascii=False)
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        # Copies: the format refuses tensors that share memory, and a name without its tensor would not load back.
        weights = {key: value.detach().cpu().clone().contiguous() for key, value in model.state_dict().items()}
        save_file(weights, path, metadata={NAME: about})
        return
    program = _export(model, shape)
    if path.suffix == ".pt2":
        torch.export.save(program, path, extra_files={NAME: about})
    else:
        _save_onnx(program, path, about)


def _export(model: nn.Module, shape: Shape) -> torch.export.ExportedProgram:
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    images = torch.zeros(2, *shape, device=device)
    try:
        with torch.no_grad():
            # Bounded, for without an end torch 2.6 refuses attention.
            batch = torch.export.Dim("batch", min=1, max=2**31 - 1)
            program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},), strict=False)
    except Exception as error:  # whatever the model's code does that cannot be followed
        raise UserError(
            f"torch.export cannot follow the model: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]} "
            "(--debug shows where). Its weights can still be written, as .safetensors."
        ) from error
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)  # names the folders of this machine
    return program


def _save_onnx(program: torch.export.ExportedProgram, path: Path, about: str) -> None:
    size = sum(each.numel() * each.element_size() for each in program.state_dict.values())
    if size >= ONNX_LIMIT:
        raise UserError(f"the weights take {size / 2**30:.1f} GiB; one .onnx file holds less than 2: take .pt2")
    try:
        converted = torch.onnx.export(
            program,
            dynamo=True,
            dynamic_shapes=({0: "batch"},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
        assert converted is not None
        converted.model.metadata_props[NAME] = about
        converted.save(path)
    except Exception as error:  # an operation that ONNX does not have
        raise UserError(f"the model cannot be written as ONNX: {str(error).strip()[:500]}") from error


def load(path: Path, trained: Trained) -> Call:
    """The model of an exported file, as a function from images (N, C, H, W) to logits (N, classes)."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    if path.suffix == ".safetensors":
        model = MODELS.build(trained.experiment.model).to(trained.device).eval()
        load_weights(model, path)
        return model
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.cpu().numpy()})[0])


def read_description(path: Path) -> dict[str, Any]:
    """What `describe` said when the file was written."""
    if path.suffix == ".pt2":
        extra = {NAME: ""}
        torch.export.load(path, extra_files=extra)
        return json.loads(extra[NAME])
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            return json.loads(file.metadata()[NAME])
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return json.loads(session.get_modelmeta().custom_metadata_map[NAME])


@torch.no_grad()
def difference(first: Call, second: Call, images: Tensor) -> float:
    """The largest difference of a logit, over the largest logit or 1; of one image alone and of all together.

    nan if one of the two is not a number.
    """
    largest = 0.0
    for batch in (images[:1], images):
        logits, others = first(batch).cpu(), second(batch).cpu()
        apart = float((logits - others).abs().max() / logits.abs().max().clamp(min=1))
        largest = apart if apart != apart else max(largest, apart)
    return largest
