"""Parameters and FLOPs of every named variant of every backbone, compared exactly; and what was published of them.

`golden.json` holds what the code gave when it was right: it shows a change that nobody meant. A new variant is a line
with a model and the shape of its input; this fills in the numbers:

    python tests/models/test_golden.py

FLOPs are those of torch's FlopCounterMode: of convolutions and matrix products only, a multiplication and an addition
being two. Papers and torchvision count multiply-adds, half as many.

`published.json` holds what others printed, with its source, and is written by hand.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from knoll.models.classifier import ImageClassifier
from knoll.registry import BACKBONES

FOLDER = Path(__file__).parent
GOLDEN: dict[str, dict[str, Any]] = json.loads((FOLDER / "golden.json").read_text())
PUBLISHED: list[dict[str, str]] = json.loads((FOLDER / "published.json").read_text())


def measure(entry: dict[str, Any]) -> dict[str, int]:
    """Parameters of the whole classifier, auxiliary heads counted, and FLOPs for one image in evaluation."""
    with torch.device("meta"):
        model = ImageClassifier(**entry["model"]).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, *entry["input"]))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return dict(parameters=parameters, flops=counter.get_total_flops())


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    entry = GOLDEN[name]
    assert measure(entry) == dict(parameters=entry["parameters"], flops=entry["flops"])


def test_every_backbone_has_an_entry() -> None:
    own = {name for name, entry in BACKBONES.module_dict.items() if entry.__module__.startswith("knoll.models.")}
    assert own == {entry["model"]["backbone"]["type"] for entry in GOLDEN.values()}


@pytest.mark.parametrize("printed", PUBLISHED, ids=lambda printed: f"{printed['name']}, {printed['figure']}")
def test_published(printed: dict[str, str]) -> None:
    entry = GOLDEN[printed["name"]]
    ours = entry["parameters"] if printed["figure"] == "parameters" else entry["flops"] // 2
    value = Decimal(printed["value"])
    # Less than one unit of the last printed digit: some papers round, others cut off.
    assert abs(ours - value) < Decimal(10) ** int(value.as_tuple().exponent)


TORCHVISION = [each for each in PUBLISHED if each["source"].startswith("torchvision ")]


@pytest.mark.parametrize("printed", TORCHVISION, ids=lambda printed: f"{printed['source']}, {printed['figure']}")
def test_torchvision_says_so(printed: dict[str, str]) -> None:
    weights = torchvision.models.get_weight(printed["source"].removeprefix("torchvision "))
    if printed["figure"] == "parameters":
        assert int(printed["value"]) == weights.meta["num_params"]
    else:
        assert float(printed["value"]) == pytest.approx(weights.meta["_ops"] * 1e9)


if __name__ == "__main__":
    lines = [f"  {json.dumps(name)}: {json.dumps(entry | measure(entry))}" for name, entry in GOLDEN.items()]
    (FOLDER / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
