"""`export`: what is written gives the model's own logits, and says what it is."""

from __future__ import annotations

import builtins
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from knoll.models.weights import load_weights
from knoll.registry import MODELS, Config, UserError
from knoll.runner import Runner, Trained
from knoll.runner.inference import export as exporting
from knoll.tools import export

SUFFIX = "_of_test_export"
CHECKPOINT = "run/checkpoints/last.pt"


@MODELS.register_module("SmallViT" + SUFFIX)
class SmallViT(nn.Module):
    """A vision transformer of timm's, small, for grey images of 28x28."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.net = timm.create_model(
            "vit_tiny_patch16_224", img_size=28, patch_size=7, in_chans=1, depth=1, num_classes=num_classes
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


@MODELS.register_module("Tied" + SUFFIX)
class Tied(nn.Module):
    """Two names for one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(784, 784, bias=False)
        self.again = nn.Linear(784, 784, bias=False)
        self.again.weight = self.first.weight

    def forward(self, images: Tensor) -> Tensor:
        return self.again(self.first(images.flatten(1)))[:, :4]


@MODELS.register_module("Branches" + SUFFIX)
class Branches(Tied):
    """Looks at numbers to decide what to do."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.sum() > 1e9 else -images)


def train(config: dict, **changes) -> None:
    Runner(Config({**config, "duration": "1ep", **changes}, name="tiny"), "run").train()


@pytest.fixture
def run(capsys):
    def run(*arguments: str) -> str:
        assert export.main([CHECKPOINT, *arguments]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def images(arrays) -> Tensor:
    """The validation images as the transforms of `tiny` prepare them: divided by 255."""
    with np.load(arrays) as data:
        return torch.from_numpy(data["val_images"]).float()[:, None] / 255


def expected(images: Tensor) -> Tensor:
    with torch.no_grad():
        return Trained(CHECKPOINT, device="cpu").forward(images)


def test_all_three_as_a_user_writes_them(tool, tiny, images):
    pytest.importorskip("onnxruntime")
    train(tiny, memory_format="channels_last")
    done = tool("export", CHECKPOINT, "--to", "m.onnx", "m.pt2", "m.safetensors", timeout=200)
    assert done.returncode == 0, done.stderr
    assert "real ones: 16 of evaluation.val (arrays)" in done.stdout
    assert sorted(path.name for path in Path().iterdir() if path.name != "run") == [
        *("arrays.npz", "m.onnx", "m.pt2", "m.safetensors")
    ]

    import onnxruntime

    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    program = torch.export.load("m.pt2").module()
    for count in (1, 2, 18):
        logits = expected(images[:count])
        torch.testing.assert_close(program(images[:count]), logits)
        [found] = session.run(["logits"], {"images": images[:count].numpy()})
        torch.testing.assert_close(torch.from_numpy(found), logits, atol=1e-5, rtol=1e-5)
    batch, *shape = session.get_inputs()[0].shape
    assert isinstance(batch, str)  # a name, not a number: any size goes
    assert shape == [1, 28, 28]

    model = MODELS.build(tiny["model"]).eval()
    load_weights(model, "m.safetensors")
    torch.testing.assert_close(model(images), expected(images))

    described = [exporting.read_description(Path(name)) for name in ("m.onnx", "m.pt2", "m.safetensors")]
    assert described[0] == described[1] == described[2]
    assert json.loads(session.get_modelmeta().custom_metadata_map["knoll"]) == described[0]


def test_what_the_file_says_of_itself(tiny, run):
    normalize = dict(type="Normalize", mean=[0.5], std=[0.25])
    evaluation = {"val": {**tiny["evaluation"]["val"]}}
    evaluation["val"]["transforms"] = [dict(type="Resize", size=[28, 28]), *evaluation["val"]["transforms"], normalize]
    train(tiny, evaluation=evaluation)
    run("--to", "m.safetensors")
    said = exporting.read_description(Path("m.safetensors"))
    assert said["name"] == "tiny"
    assert said["step"] == 4  # 10 batches, 3 to an update
    assert said["classes"] == ["0", "1", "2", "3"]
    assert said["multi_label"] is False
    assert said["input"] == {"name": "images", "shape": ["batch", 1, 28, 28], "dtype": "float32"}
    assert said["preprocessing"] == {
        "set": "val",
        "mode": "L",
        "resize_first": None,
        "transforms": evaluation["val"]["transforms"],
        "size": [28, 28],
        "mean": [0.5],
        "std": [0.25],
    }
    assert said["model"] == tiny["model"]
    recorded = torch.load(CHECKPOINT, weights_only=True)["metrics"]
    assert set(recorded) == {"val/loss", "val/top1", "val/top2"}
    assert said["metrics"] == {name: {"value": value, "data": "arrays"} for name, value in recorded.items()}
    assert said["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_no_folder_of_this_machine_is_in_the_files(tiny, run):
    pytest.importorskip("onnxruntime")
    train(tiny)
    run("--to", "m.onnx", "m.pt2")
    with zipfile.ZipFile("m.pt2") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for each in (content, Path("m.onnx").read_bytes()):
        assert b"classifier.py" not in each
        assert str(Path(exporting.__file__).parents[1]).encode() not in each


def test_a_vision_transformer_of_timm(tiny, run, images):
    pytest.importorskip("onnxruntime")
    train(tiny, model=dict(type="SmallViT" + SUFFIX, num_classes=4))
    told = run("--to", "m.onnx", "m.pt2")
    assert "m.onnx: " in told
    torch.testing.assert_close(torch.export.load("m.pt2").module()(images), expected(images), atol=1e-5, rtol=1e-5)


def test_weights_with_two_names(tiny, run, images):
    train(tiny, model=dict(type="Tied" + SUFFIX))
    run("--to", "m.safetensors")
    model = Tied()
    load_weights(model, "m.safetensors")
    assert model.again.weight is model.first.weight
    torch.testing.assert_close(model(images), expected(images))


def test_images_to_compare_on(tiny, run, arrays, images):
    train(tiny)
    Image.fromarray((images[0, 0] * 255).byte().numpy()).resize((56, 56)).convert("RGB").save("large.png")
    assert "real ones: 1 of --images" in run("--to", "m.safetensors", "--images", "large.png")
    arrays.unlink()
    told = run("--to", "m.safetensors")
    assert "real ones: none, for evaluation.val is not there: there is no file arrays.npz" in told
    assert "images of the shape (batch, 1, 28, 28)" in told


def test_the_shape_is_that_of_the_evaluation_set_if_nothing_else_tells_it(tiny, run, images):
    """A ResNet takes any size, and its example_shape is 64x64; the images here are of 28x28."""
    model = {**tiny["model"], "backbone": dict(type="ResNet", depth=18, in_channels=1, stem="3x3")}
    as_tensor = tiny["evaluation"]["val"]["transforms"]
    train(tiny, model=model, train={**tiny["train"], "transforms": as_tensor}, duration=1)
    assert "images of the shape (batch, 1, 28, 28)" in run("--to", "m.safetensors")
    assert exporting.read_description(Path("m.safetensors"))["preprocessing"]["size"] == [28, 28]


def test_a_file_that_is_not_the_model_is_not_written(tiny, monkeypatch):
    train(tiny)
    Path("m.safetensors").write_text("an older one")
    save = exporting.save

    def save_with_a_mistake(path, model, shape, description):
        with torch.no_grad():
            model.head.fc.bias += 0.01
            save(path, model, shape, description)
            model.head.fc.bias -= 0.01

    monkeypatch.setattr(exporting, "save", save_with_a_mistake)
    with pytest.raises(UserError, match=r"m.safetensors is not written: its logits differ from the model's"):
        export.main([CHECKPOINT, "--to", "m.safetensors"])
    assert Path("m.safetensors").read_text() == "an older one"
    assert [path.name for path in Path().iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_difference_is_the_largest_one(wrong):
    first = torch.zeros(3, 4)
    second = first.clone()
    second[2, 1] = wrong
    found = exporting.difference(lambda images: first[: len(images)], lambda images: second[: len(images)], first)
    assert found == pytest.approx(wrong, nan_ok=True)
    twice = exporting.difference(lambda images: 2 + first, lambda images: 2 + second, first)
    assert twice == pytest.approx(wrong / 2, nan_ok=True)


def test_mistakes(tiny, monkeypatch):
    train(tiny, model=dict(type="Branches" + SUFFIX))
    Path("empty").mkdir()
    for arguments, message in [
        (["--to", "m.pt"], "--to m.pt: its name must end in .pt2 or .onnx or .safetensors"),
        (["--to", "nowhere/m.pt2"], "--to: there is no folder"),
        (["--to", "m.safetensors", "--images", "empty"], "no images in the folder empty"),
        (["--to", "m.pt2"], "torch.export cannot follow the model"),
    ]:
        with pytest.raises(UserError, match=r".") as raised:
            export.main([CHECKPOINT, *arguments])
        assert message in str(raised.value)
    assert not Path("m.pt2").exists()
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else builtins)
    with pytest.raises(UserError, match=r'needs onnxscript, not installed here: pip install "knoll\[onnx\]"'):
        export.main([CHECKPOINT, "--to", "m.onnx"])
