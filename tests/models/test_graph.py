from __future__ import annotations

from xml.etree import ElementTree

import pytest
import timm
import torch
from torch import Tensor, nn

from knoll.models.backbones.resnet import BasicBlock
from knoll.models.classifier import ImageClassifier
from knoll.models.graph import Box, Graph, trace
from knoll.models.graph_drawing import draw
from knoll.registry import UserError

SVG = "{http://www.w3.org/2000/svg}"


def readers(graph: Graph) -> dict[str, list[str]]:
    """For every box, the boxes that it reads from, by name; a function by its own."""
    names = [box.name if box.is_module else box.type for box in graph.boxes]
    return {name: [names[start] for start, end in graph.edges if end == here] for here, name in enumerate(names)}


def leaves(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if not any(module.children())]


def test_a_chain_has_one_box_for_each_layer() -> None:
    model = ImageClassifier(dict(type="VGG", column="A"), dict(type="MLPHead", num_classes=3, hidden=[8], pool=1))
    graph = trace(model, torch.zeros(1, 3, 32, 32))
    assert [box.name for box in graph.boxes if box.is_module] == leaves(model)
    assert graph.edges == [(number, number + 1) for number in range(len(leaves(model)))]
    assert graph.boxes[0] == Box("", "images", "(1, 3, 32, 32)", is_module=False)
    assert graph.boxes[-1] == Box("head.classifier.3", "Linear", "(1, 3)", is_module=True)


def test_a_block_with_the_identity_as_shortcut() -> None:
    graph = trace(BasicBlock(8, 8, stride=1), torch.zeros(1, 8, 6, 6))
    found = readers(graph)
    assert found["conv1"] == ["images"]
    assert found["add"] == ["images", "bn2"]
    # The identity does nothing, and the ReLU is called twice.
    assert [box.name for box in graph.boxes if box.is_module] == ["conv1", "bn1", "relu", "conv2", "bn2", "relu"]


def test_a_block_with_a_projection_as_shortcut() -> None:
    block = BasicBlock(4, 8, stride=2)
    graph = trace(block, torch.zeros(1, 4, 6, 6))
    found = readers(graph)
    assert found["downsample.0"] == ["images"]
    assert found["downsample.1"] == ["downsample.0"]
    assert found["add"] == ["bn2", "downsample.1"]
    assert {box.name for box in graph.boxes if box.is_module} == set(leaves(block))


def test_a_vision_transformer() -> None:
    graph = trace(timm.create_model("vit_tiny_patch16_224", depth=1), torch.zeros(1, 3, 224, 224))
    edges = [(graph.boxes[start].name, graph.boxes[end].name) for start, end in graph.edges if end != start + 1]
    assert edges == [("pos_drop", "blocks.0"), ("blocks.0", "blocks.0")]  # around attention, and around the MLP
    assert [box.type for box in graph.boxes if not box.is_module] == [
        *("images", "cat", "add", "scaled_dot_product_attention", "add", "add")
    ]


def test_depth() -> None:
    model = ImageClassifier(dict(type="ResNet", depth=18), dict(type="LinearHead", num_classes=3))
    graph = trace(model, torch.zeros(1, 3, 32, 32), depth=2)
    stages = [
        f"backbone.{name}" for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    ]
    assert list(readers(graph)) == ["images", *stages, "mean", "head.dropout", "head.fc"]
    assert [box.name for box in trace(model, torch.zeros(1, 3, 32, 32), depth=1).boxes] == ["", "backbone", "head"]


class Trap(nn.Module):
    """What is easily drawn wrong: changes in place, layers that return what they were given, views, constants."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout()
        self.relu = nn.ReLU(inplace=True)
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))
        self.offset = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        dropped = self.drop(x)
        left = self.a(x)  # from x, not from the dropout
        right = self.b(dropped)
        self.relu(left)  # `left` itself is another from here on
        right += self.offset * 2
        both = torch.stack([self.c(left).view(2, 2, 1).squeeze(-1), self.d(right).reshape(2, 2)])
        return both.flatten(1)


def test_who_reads_from_whom() -> None:
    graph = trace(Trap(), torch.zeros(1, 4))
    assert readers(graph) == {
        "images": [],
        "drop": ["images"],
        "a": ["images"],
        "b": ["drop"],
        "relu": ["a"],
        "add": ["b"],
        "c": ["relu"],
        "d": ["add"],
        "stack": ["c", "d"],
    }


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.layer(x).numpy())


def test_a_model_that_cannot_be_followed() -> None:
    with pytest.raises(UserError, match=r"behind layer \(Linear\) its output is made by something that is no function"):
        trace(Hidden(), torch.zeros(1, 4))


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout())
    trace(model, torch.randn(2, 4))
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(model[0].running_mean, torch.zeros(4))


# --- the picture ------------------------------------------------------------------------------------------------------


def parts(svg: str) -> tuple[list[dict], list[dict]]:
    """The boxes with their texts, and the edges with their paths."""
    root = ElementTree.fromstring(svg)
    boxes = []
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == "box":
            rect = group.find(f"{SVG}rect")
            assert rect is not None
            boxes.append({"texts": [text.text for text in group.iter(f"{SVG}text")], **rect.attrib})
    edges = [path.attrib for path in root.iter(f"{SVG}path") if path.get("class") == "edge"]
    return boxes, edges


def test_the_picture_of_a_block() -> None:
    graph = trace(BasicBlock(4, 8, stride=2), torch.zeros(1, 4, 6, 6))
    boxes, edges = parts(draw(graph, "block"))
    assert [box["texts"] for box in boxes[:3]] == [
        ["images", "(1, 4, 6, 6)"],
        ["Conv2d", "(1, 8, 3, 3)", "conv1"],
        ["BatchNorm2d", "(1, 8, 3, 3)", "bn1"],
    ]
    assert len(boxes) == len(graph.boxes)
    assert [(int(edge["data-from"]), int(edge["data-to"])) for edge in edges] == graph.edges


def test_boxes_stand_below_one_another_and_within_the_picture() -> None:
    graph = trace(timm.create_model("densenet121"), torch.zeros(1, 3, 32, 32))
    svg = draw(graph, "DenseNet")
    root = ElementTree.fromstring(svg)
    boxes, edges = parts(svg)
    ends = [int(box["y"]) + int(box["height"]) for box in boxes]
    assert all(int(below["y"]) > end for below, end in zip(boxes[1:], ends[:-1], strict=True))
    assert ends[-1] < int(root.attrib["height"])
    # A connection that skips boxes goes down in a lane: no two share one beside the same box.
    lanes: dict[float, list[tuple[int, int]]] = {}
    for edge in edges:
        start, end = int(edge["data-from"]), int(edge["data-to"])
        if end > start + 1:
            x = float(edge["d"].split("Q")[1].split()[0])
            assert x < int(root.attrib["width"])
            assert all(end <= first or last <= start for first, last in lanes.get(x, []))
            lanes.setdefault(x, []).append((start, end))
    assert len(lanes) > 1


def test_names_are_escaped() -> None:
    graph = Graph([Box("", "images", "", False), Box('a<b>&"c"', "<lambda>", "(1,)", False)], [(0, 1)])
    boxes, _ = parts(draw(graph, "<&>"))
    assert boxes[1]["texts"] == ["<lambda>", "(1,)", 'a<b>&"c"']
