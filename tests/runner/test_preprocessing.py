from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from knoll.models.backbones.lenet import LeNet5
from knoll.models.backbones.resnet import ResNet
from knoll.registry import UserError, make_experiment
from knoll.runner.inference.preprocessing import ASSUMED, EXAMPLE, example_shape, find_input

AS_TENSOR = [dict(type="ToImage"), dict(type="ToDtype", dtype="float32", scale=True)]
CROP = dict(type="RandomCrop", size=32, padding=4)


def find(model: nn.Module, train: list, evaluation: list | None) -> Any:
    dataset = dict(type="DrawnFlowers")
    config = dict(
        **{key: dict(type="none") for key in ("model", "loss", "optimizer")},
        train=dict(dataset=dataset, transforms=train),
        evaluation={} if evaluation is None else dict(val=dict(dataset=dataset, transforms=evaluation)),
        duration=1,
    )
    name = "" if evaluation is None else "val"
    return find_input(model.eval(), example_shape(model), make_experiment(config), name)


@pytest.fixture(scope="module")
def resnet() -> ResNet:
    return ResNet(18)


def test_evaluation_tells_the_shape(resnet):
    evaluation = [dict(type="Resize", size=[40, 50]), *AS_TENSOR]
    assert find(resnet, [CROP, *AS_TENSOR], evaluation) == ((3, 40, 50), "from evaluation.val.transforms", "RGB", None)


def test_a_shorter_side_tells_no_shape(resnet):
    evaluation = [dict(type="Resize", size=40), *AS_TENSOR]
    found = find(resnet, [CROP, *AS_TENSOR], evaluation)
    assert found == ((3, 40, 40), "from train.transforms", "RGB", (32, 32))


def test_training_tells_the_size_of_its_pictures(resnet):
    found = find(resnet, [CROP, *AS_TENSOR], AS_TENSOR)
    assert found == ((3, 32, 32), "from train.transforms", "RGB", (32, 32))
    assert find(resnet, [CROP, *AS_TENSOR], None) == found


def test_the_backbone_tells_a_shape(resnet):
    # ResNet takes pictures of any size, so they are left as they are; LeNet5 takes one only.
    assert find(resnet, AS_TENSOR, AS_TENSOR) == ((3, 64, 64), EXAMPLE, "RGB", None)
    assert find(LeNet5(), AS_TENSOR, AS_TENSOR) == ((1, 28, 28), EXAMPLE, "L", (28, 28))
    assert find(nn.Conv2d(3, 4, 3), AS_TENSOR, AS_TENSOR) == ((3, 224, 224), ASSUMED, "RGB", None)


def test_grey_pictures_for_a_model_of_one_channel():
    assert find(nn.Conv2d(1, 4, 3), [CROP, *AS_TENSOR], AS_TENSOR).mode == "L"
    in_three = [dict(type="Grayscale", num_output_channels=3), *AS_TENSOR]
    assert find(nn.Conv2d(3, 4, 3), [CROP, *AS_TENSOR], in_three).mode == "RGB"
    in_one = [dict(type="Grayscale"), *AS_TENSOR]
    assert find(nn.Conv2d(1, 4, 3), [CROP, *AS_TENSOR], in_one)[:3] == ((1, 32, 32), "from train.transforms", "RGB")


def test_nothing_is_drawn_from_the_runs_generators(resnet):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    find(resnet, [CROP, dict(type="RandomHorizontalFlip"), *AS_TENSOR], AS_TENSOR)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_that_takes_none_of_it():
    with pytest.raises(
        UserError, match=r"does not take images of the shape \(1, 32, 32\) \(from train.transforms\): Conf"
    ):
        find(LeNet5(), [CROP, *AS_TENSOR], AS_TENSOR)
