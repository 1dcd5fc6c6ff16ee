"""The configs in docs/training.md train, and what the page says that they print is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from knoll.registry import load_config
from knoll.runner import Runner

PAGE = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
CONFIGS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_its_config_trains(tiny, number, logged):
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny | dict(duration=2)))
    Path("config.py").write_text(f'_base_ = "tiny.yaml"\n\n{CONFIGS[number]}')
    runner = Runner(load_config("config.py"), "run")
    metrics = runner.train()
    assert runner.step == 2
    if "ema" in CONFIGS[number]:
        assert {"val/top1", "val_ema/top1"} <= set(metrics)
    if "base_batch" in CONFIGS[number]:
        [told] = [line for line in logged if line.startswith("lr ")]
        assert f"\n```\n{told}\n```\n" in PAGE
