"""`data show` draws exactly what the loaders of a run give, and what each transform leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from knoll.datasets.layouts.array_file import ArrayFile
from knoll.registry import UserError, make_experiment
from knoll.runner import Runner
from knoll.runner.data_report.samples import Samples, as_picture
from knoll.runner.inference.picture_grid import GAP, LINE, SIDE
from knoll.tools.data_commands import show

AS_TENSOR = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
NORMALIZE = dict(type="Normalize", mean=[0.3], std=[0.2])
CHANGES = [dict(type="RandomCrop", size=28, padding=6), dict(type="RandomHorizontalFlip")]


@pytest.fixture
def config(tiny):
    tiny["train"]["transforms"] = [*CHANGES, *AS_TENSOR, NORMALIZE]
    Path("x.yaml").write_text(yaml.safe_dump(tiny))
    return tiny


def cells(file: str, columns: int, count: int) -> list[np.ndarray]:
    """The pictures of a sheet, (28, 28) each: 28 pixels a side are drawn six times as large."""
    sheet = np.asarray(Image.open(file).convert("L"))
    found = []
    for number in range(count):
        x, y = GAP + number % columns * (SIDE + GAP), GAP + number // columns * (SIDE + 2 * LINE + GAP)
        found.append(sheet[y + 3 : y + SIDE : 6, x + 3 : x + SIDE : 6])
    return found


def as_bytes(image: torch.Tensor) -> np.ndarray:
    return ((image[0] * 0.2 + 0.3) * 255).round().clamp(0, 255).to(torch.uint8).numpy()


@pytest.mark.parametrize("epoch", [0, 2])
def test_the_grid_is_what_training_sees(config, epoch, capsys):
    loader = Runner(config, "run").train_loader
    batches = list(loader.batches(epoch * loader.batches_per_epoch, epoch * loader.batches_per_epoch + 3))
    capsys.readouterr()
    assert show.main(["x.yaml", "--count", "10", "--epoch", str(epoch), "--out", "sheet.png"]) == 0
    images = torch.cat([batch.images for batch in batches])[:10]
    for cell, image in zip(cells("sheet.png", 8, 10), images, strict=True):
        assert np.array_equal(cell, as_bytes(image))
    dataset, indices = loader.dataset, torch.cat([batch.indices for batch in batches])[:10].tolist()
    names = [f"{n:3}  {dataset.name(i)}  ({dataset.labels[i]})" for n, i in enumerate(indices, 1)]
    assert capsys.readouterr().out.splitlines() == [*names, "sheet.png"]


def test_another_seed_shows_other_samples(config):
    shown = []
    for seed in ("0", "1", "0"):
        assert show.main(["x.yaml", "--seed", seed, "--out", "sheet.png"]) == 0
        shown.append(Path("sheet.png").read_bytes())
    assert shown[0] == shown[2] != shown[1]


@pytest.mark.usefixtures("config")
def test_a_column_for_each_transform(capsys):
    assert show.main(["x.yaml", "--steps", "--count", "8"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "x_train_steps.png"
    assert show.main(["x.yaml", "--count", "8", "--out", "grid.png"]) == 0
    drawn, final = cells("x_train_steps.png", 6, 48), cells("grid.png", 8, 8)
    whole = ArrayFile("arrays.npz").images
    flips = 0
    for number, line in enumerate(printed[:-1]):
        original, cropped, flipped, *rest = drawn[6 * number : 6 * number + 6]
        assert np.array_equal(original, whole[int(line.split()[1].rpartition("/")[2])])
        assert not np.array_equal(original, cropped)
        assert np.array_equal(flipped, cropped) or np.array_equal(flipped, cropped[:, ::-1])
        flips += not np.array_equal(flipped, cropped)
        assert all(np.array_equal(flipped, each) for each in (*rest, final[number]))
    assert 0 < flips < 8


def test_an_evaluation_set_is_shown_from_end_to_end(config, capsys):
    assert show.main(["x.yaml", "--set", "val", "--count", "3", "--out", "sheet.png"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[:3]] == [
        f"val/{index:05d}"
        for index in (3, 9, 15)  # the middles of the thirds of 18
    ]
    whole = ArrayFile("arrays.npz", split="val").images
    for cell, index in zip(cells("sheet.png", 3, 3), (3, 9, 15), strict=True):
        assert np.array_equal(cell, whole[index])


def test_colours_and_other_numbers(config):
    red = torch.tensor([[[1.0]], [[0.5]], [[0.0]]])
    assert as_picture(red, []).getpixel((0, 0)) == (255, 128, 0)
    assert as_picture((red * 255).to(torch.uint8), []).getpixel((0, 0)) == (255, 127, 0)
    normalize = dict(type="Normalize", mean=[0.5, 0.2, 0.1], std=[0.5, 0.3, 0.2])
    normalized = torch.tensor([1.0, 1.0, -0.5]).reshape(3, 1, 1)
    assert as_picture(normalized, [normalize]).getpixel((0, 0)) == (255, 128, 0)
    far = torch.tensor([[[-10.0, 0.0, 10.0]]])
    assert [as_picture(far, []).getpixel((x, 0)) for x in range(3)] == [0, 128, 255]
    with pytest.raises(UserError, match="of 2 channels cannot be shown"):
        as_picture(torch.zeros(2, 1, 1), [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "test"), "--set test: the config has no such set; it has train, val"),
        (("--count", "0"), "--count: expected at least 1"),
        (("--epoch", "-1"), "--epoch: expected at least 0"),
        (("--out", "x.jpg"), "its name must end in .png"),
        (("train.transforms=[]",), "add a Resize or crop|the transforms leave"),
    ],
)
@pytest.mark.usefixtures("config")
def test_mistakes(arguments, message):
    with pytest.raises(UserError, match=message):
        show.main(["x.yaml", *arguments])


def test_as_a_user_runs_it(tool, config):
    done = tool("data", "show", "x.yaml", "--steps", "--count", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "x_train_steps.png"
    listed = tool("data", "--help")
    assert [line.split()[0] for line in listed.stdout.splitlines() if line.startswith("  s")] == [
        *("show", "split", "stats")
    ]


def test_samples_are_those_of_the_experiment(config):
    samples = Samples(make_experiment(config), "train", 5)
    assert [each.name for each in samples.final()] == [each.name for each in samples.after([])]
