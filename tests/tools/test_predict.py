"""`predict`: the same figures as the data set's own evaluation gives, from files and from the set itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from knoll.registry import Config, UserError
from knoll.runner import Runner
from knoll.runner.saving import checkpoint
from knoll.runner.step.forward import Forward
from knoll.tools import predict, test

CHECKPOINT = "run/checkpoints/last.pt"
AS_TENSOR = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]


def train(config: dict, **changes) -> None:
    config = {**config, **changes}
    Runner(Config(config, name="tiny"), "run").train()


@pytest.fixture
def trained(tiny):
    """A checkpoint that tells most of the four corners apart, and not all."""
    train(tiny, duration="1ep", accumulate=1)


@pytest.fixture
def folder(arrays, working_directory):
    """The validation images as PNG files, in the folders of their classes: photos/0/00.png ..."""
    with np.load(arrays) as data:
        for index, (image, label) in enumerate(zip(data["val_images"], data["val_labels"], strict=True)):
            place = working_directory / "photos" / str(label)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{index:02d}.png")
    return working_directory / "photos"


@pytest.fixture
def run(capsys):
    """What the tool prints, and its exit status."""

    def run(*arguments: str) -> tuple[int, list[str], str]:
        status = predict.main([CHECKPOINT, "--device", "cpu", *arguments])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err

    return run


@pytest.fixture
def measured(trained, working_directory, capsys) -> dict[int, dict]:
    """What `test --out` writes for every image of the evaluation set, by its index."""
    assert test.main([CHECKPOINT, "--out", "tested.csv", "--device", "cpu"]) == 0
    capsys.readouterr()
    return {int(row["index"]): row for row in csv.DictReader((working_directory / "tested.csv").open())}


def probabilities(row: dict) -> list[float]:
    return [float(row[f"p({name})"]) for name in "0123"]


@pytest.mark.usefixtures("folder")
def test_files_get_the_figures_of_the_evaluation_set(measured, run, working_directory):
    status, printed, _ = run("photos", "--out", "p.csv", "--show", "sheet.png", "--batch", "4")
    assert status == 0
    rows = list(csv.DictReader((working_directory / "p.csv").open()))
    assert len(rows) == 18
    for row in rows:
        twin = measured[int(row["name"][-6:-4])]
        assert probabilities(row) == pytest.approx(probabilities(twin), abs=1e-5)
        assert [row[key] for key in ("label", "prediction", "correct")] == [
            twin[key] for key in ("label", "prediction", "correct")
        ]
    right = sum(int(row["correct"]) for row in measured.values())
    assert 0 < right < 18
    assert f"accuracy: {right / 18:.4f} ({right} of the 18 whose class is known)" in printed
    assert sum("WRONG" in line for line in printed) == 18 - right
    sheet = Image.open(working_directory / "sheet.png")
    framed = sum(sheet.getpixel((14 - 3 + 182 * (n % 8), 14 - 3 + 220 * (n // 8))) == (200, 30, 30) for n in range(18))
    assert framed == 18 - right


def test_random_pictures_of_the_evaluation_set(measured, run, working_directory):
    status, printed, _ = run("--random", "7", "--seed", "3", "--out", "p.json", "--show", "sheet.png")
    assert status == 0
    assert "7 of the 18 pictures of evaluation.val (arrays)" in printed
    rows = json.loads((working_directory / "p.json").read_text())
    assert len({row["name"] for row in rows}) == 7
    for row in rows:
        twin = measured[int(row["name"].removeprefix("val/"))]
        assert list(row["probabilities"].values()) == pytest.approx(probabilities(twin), abs=1e-5)
        assert (row["label"], row["prediction"]) == ([twin["label"]], [twin["prediction"]])
    told = [line for line in printed if line.startswith("val/")]
    assert [line for line in run("--random", "7", "--seed", "3")[1] if line.startswith("val/")] == told
    assert [line for line in run("--random", "7", "--seed", "4")[1] if line.startswith("val/")] != told


@pytest.mark.usefixtures("trained")
def test_top(run, folder):
    _, printed, _ = run(str(folder / "0/00.png"), "--top", "2")
    told = next(line for line in printed if line.startswith(str(folder))).split("  WRONG")[0].split("  ")
    shares = [float(each.split()[1].rstrip("%")) for each in told[1:]]
    assert len(shares) == 2
    assert shares == sorted(shares, reverse=True)


@pytest.mark.usefixtures("trained")
def test_a_picture_in_colour_of_another_size_is_brought_to_what_the_model_takes(run, folder, working_directory):
    small = Image.open(folder / "3/03.png")
    small.resize((280, 280), Image.Resampling.NEAREST).convert("RGBA").save("large.png")
    small.save("small.png")
    _, printed, _ = run("large.png", "small.png", "--out", "p.csv")
    assert any("those of another size are brought to 28 x 28 first (from train.transforms)" in line for line in printed)
    rows = list(csv.DictReader((working_directory / "p.csv").open()))
    assert [row["label"] for row in rows] == ["", ""]  # their folder is no class
    assert not any(line.startswith("accuracy") for line in printed)
    # Averaging 10 x 10 equal pixels gives them back.
    assert probabilities(rows[0]) == pytest.approx(probabilities(rows[1]), abs=0.02)


@pytest.mark.usefixtures("trained")
def test_unreadable_images_are_named_at_the_end(tool, folder):
    (folder / "1/broken.jpg").write_bytes(b"no image")
    (folder / "1/cut.png").write_bytes((folder / "1/01.png").read_bytes()[:60])
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not an image, nor named like one")
    done = tool("predict", CHECKPOINT, "photos", "--device", "cpu")
    assert done.returncode == 1
    named = done.stderr.splitlines()
    assert [line.partition(" cannot be read as an image")[0] for line in named] == [
        "not predicted: photos/1/broken.jpg",
        "not predicted: photos/1/cut.png",
    ]
    assert "of the 18 whose class is known" in done.stdout


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("batch", ["1", "5", "32"])
def test_a_picture_that_the_model_fails_on_costs_no_other(run, folder, working_directory, monkeypatch, batch):
    black = folder / "2/black.png"
    Image.new("L", (28, 28)).save(black)
    forward = Forward.__call__

    def fail(self, images):
        if (images == 0).flatten(1).all(1).any():
            raise RuntimeError("no light")
        return forward(self, images)

    monkeypatch.setattr(Forward, "__call__", fail)
    status, _, errors = run("photos", "--out", "p.csv", "--batch", batch)
    assert status == 1
    told = "the model fails on an image of the shape (1, 28, 28): RuntimeError: no light"
    assert errors == f"not predicted: photos/2/black.png: {told}\n"
    names = [row["name"] for row in csv.DictReader((working_directory / "p.csv").open())]
    assert names == sorted(str(file) for file in Path("photos").rglob("*.png") if file.name != "black.png")


@pytest.mark.row(24)
@pytest.mark.usefixtures("trained")
def test_what_is_passed_over_is_counted_and_other_formats_are_read(run, folder, working_directory):
    picture = Image.open(folder / "0/00.png")
    for name in ("0/90.gif", "0/91.jfif", "0/92.tif"):
        picture.save(folder / name)
    (folder / "notes.txt").write_text("")
    (folder / "0/93.jp2").write_bytes(b"")
    status, printed, _ = run("photos", "--out", "p.csv")
    assert status == 0
    assert "passed over, for their names are not those of images: 1 .jp2, 1 .txt" in printed
    rows = {row["name"]: row for row in csv.DictReader((working_directory / "p.csv").open())}
    assert len(rows) == 18 + 3
    for name in ("90.gif", "92.tif"):
        assert probabilities(rows[f"photos/0/{name}"]) == pytest.approx(
            probabilities(rows["photos/0/00.png"]), abs=1e-6
        )


def test_several_classes_in_one_picture(tiny, folder, run, working_directory):
    arrays = dict(np.load("arrays.npz"))
    for split in ("train", "val"):
        arrays[f"{split}_labels"] = np.eye(4, dtype=np.uint8)[arrays[f"{split}_labels"]]
    np.savez("arrays.npz", **arrays)
    head = dict(type="MultiLabelHead", num_classes=4)
    metrics = dict(f1=dict(type="torchmetrics/MultilabelF1Score"))
    tiny["hooks"]["checkpoint"] = dict(type="Checkpoint")
    model = {**tiny["model"], "head": head}
    train(tiny, model=model, loss=dict(type="BCEWithLogitsLoss"), metrics=metrics, duration="1ep")
    state = torch.load(CHECKPOINT, weights_only=True)
    state["model"]["head.fc.weight"].zero_()
    state["model"]["head.fc.bias"].copy_(torch.tensor([2.0, -1.0, 0.5, -3.0]))
    checkpoint.save(state, Path(CHECKPOINT))
    _, printed, _ = run(str(folder / "0/00.png"), "--top", "1", "--out", "p.json")
    [row] = json.loads((working_directory / "p.json").read_text())
    sigmoids = [1 / (1 + np.exp(-x)) for x in (2, -1, 0.5, -3)]
    assert list(row["probabilities"].values()) == pytest.approx(sigmoids)
    assert row["prediction"] == ["0", "2"]
    assert row["correct"] is None  # the folder names one class, and says nothing of others
    assert f"{folder / '0/00.png'}  0 88.1%  2 62.2%" in printed


def test_names_that_no_font_has(tiny, folder, run, working_directory):
    names = ["雏菊", "蒲公英", "rose", "\U000e0fff"]
    sets = {
        "train": {**tiny["train"], "dataset": {**tiny["train"]["dataset"], "classes": names}},
        "evaluation": {
            "val": {**tiny["evaluation"]["val"], "dataset": {**tiny["evaluation"]["val"]["dataset"], "classes": names}}
        },
    }
    train(tiny, duration=1, hooks={"checkpoint": dict(type="Checkpoint", every=1)}, **sets)
    status, printed, _ = run(str(folder), "--show", "sheet.png", "--out", "p.csv")
    assert status == 0
    assert any("no font here has all letters of the classes' names" in line for line in printed)
    assert "p(蒲公英)" in (working_directory / "p.csv").read_text(encoding="utf-8")


def test_the_transforms_of_another_set(tiny, folder, run, working_directory):
    val = tiny["evaluation"]["val"]
    black = {**val, "transforms": [dict(type="RandomSolarize", threshold=0.0, p=1.0), *AS_TENSOR]}
    train(tiny, duration="1ep", evaluation={"val": val, "negative": black})
    Image.fromarray(255 - np.asarray(Image.open(folder / "0/00.png"))).save("negative.png")
    found = {}
    for name, file in (("val", folder / "0/00.png"), ("negative", "negative.png"), ("val", "negative.png")):
        run(str(file), "--set", name, "--out", "p.csv")
        [row] = csv.DictReader((working_directory / "p.csv").open())
        found[name, str(file)] = probabilities(row)
    first, second, other = found.values()
    assert first == pytest.approx(second, abs=1e-5)
    assert first != pytest.approx(other, abs=1e-3)


def test_pictures_of_different_sizes_in_one_batch(tiny, folder, run, working_directory):
    """A model that takes any size gets every picture as it is."""
    model = {**tiny["model"], "backbone": dict(type="ResNet", depth=18, in_channels=1)}
    train(tiny, model=model, train={**tiny["train"], "transforms": AS_TENSOR}, duration=1)
    sizes = [(28, 28), (64, 40), (28, 28), (40, 64)]
    for number, size in enumerate(sizes):
        Image.open(folder / f"{number}/0{number}.png").resize(size).save(f"{number}.png")
    files = [f"{number}.png" for number in range(4)]
    found = []
    for batch in ("1", "4"):
        run(*files, "--batch", batch, "--out", "p.csv")
        found.append([probabilities(row) for row in csv.DictReader((working_directory / "p.csv").open())])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.ptp(np.array(found[0]), axis=0).min() > 1e-3


def test_mistakes(tool, tiny, folder, working_directory):
    (working_directory / "empty").mkdir()
    (working_directory / "text.pt").write_text("no checkpoint")
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    train(tiny, duration=1)
    for arguments, message in [
        ([CHECKPOINT], "name images or folders; or take pictures of the evaluation set, with --random 24"),
        ([CHECKPOINT, "gone.png"], "there is no file or folder gone.png"),
        ([CHECKPOINT, "empty"], "no images in the folder empty"),
        (["text.pt", "photos"], "text.pt cannot be used: it carries no SHA-256"),
        (["gone.pt", "photos"], "there is no checkpoint gone.pt"),
        ([CHECKPOINT, "photos", "--out", "p.txt"], "--out p.txt: its name must end in .csv or .json"),
        ([CHECKPOINT, "photos", "--show", "nowhere/p.png"], "--show: there is no folder"),
        ([CHECKPOINT, "photos", "--set", "vall"], "has no evaluation set `vall`; it has val"),
        ([CHECKPOINT, "photos", "--top", "0"], "--top: expected at least 1"),
    ]:
        with pytest.raises(UserError, match=r".") as raised:
            predict.main(arguments)
        assert message in str(raised.value)
    done = tool("predict", CHECKPOINT, "gone.png")
    assert (done.returncode, done.stderr) == (2, "error: there is no file or folder gone.png\n")
