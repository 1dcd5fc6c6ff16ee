"""A registry is its own allowlist: whatever a `type` looks like, it is looked up, and never imported or called."""

from __future__ import annotations

import subprocess
import sys

import pytest

from knoll.registry import (
    BACKBONES,
    DATASETS,
    HEADS,
    HOOKS,
    LOSSES,
    METRICS,
    MODELS,
    OPTIMIZERS,
    SAMPLERS,
    SCHEDULERS,
    TRANSFORMS,
    UnknownNameError,
    check,
    config_from_dict,
)
from knoll.registry.names import nearest

REGISTRIES = [
    *(BACKBONES, DATASETS, HEADS, HOOKS, LOSSES, METRICS, MODELS, OPTIMIZERS, SAMPLERS, SCHEDULERS, TRANSFORMS),
]
HOSTILE = [
    *("os.system", "subprocess.getoutput", "json", "torch.hub.load", "builtins.eval", "eval", "exec", "__import__"),
    *("antigravity", "this", "timm/../x", "timm/", "/etc/passwd", "timm/os", "timm/__builtins__", "torchvision/hub"),
    *("torchmetrics/__import__", "__class__", "get", "_modules", "knoll.registry.Registry", "", " ", ".", "os:system"),
    *("timm/create_model.__globals__", "torchvision/get_model", "torch.nn.Linear", "ResNet.__init__", "\0", "a\nb"),
]


@pytest.mark.row(38)
def test_no_name_of_a_function_or_module_is_looked_up_anywhere(figure):
    for registry in REGISTRIES:
        for prefix in registry.source_prefixes:  # these libraries may be imported: they are asked for their own names
            registry.get(f"{prefix}/there is none of this name")
    before = set(sys.modules)
    refused = 0
    for registry in REGISTRIES:
        for name in HOSTILE:
            with pytest.raises(UnknownNameError):
                registry.build(dict(type=name))
            refused += 1
    new = set(sys.modules) - before
    figure(f"{refused} of {len(HOSTILE) * len(REGISTRIES)} hostile names refused, {len(new)} modules imported")
    assert new == set()


@pytest.mark.row(38)
def test_the_modules_named_are_not_imported_in_a_process_that_has_none_of_them():
    code = (
        "import sys\nfrom knoll.registry import *\n"
        "for registry in (LOSSES, DATASETS, HOOKS):\n"
        "    for name in ('antigravity', 'antigravity.geohash', 'this', 'smtplib.SMTP', 'knoll.tools.train'):\n"
        "        assert registry.get(name) is None\n"
        "print([name for name in ('antigravity', 'this', 'smtplib', 'knoll.tools.train') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


@pytest.mark.row(38)
def test_an_unknown_name_shows_the_three_nearest_in_every_registry(figure):
    shown = {}
    for registry in REGISTRIES:
        known = sorted(registry.module_dict)
        name = known[0] + "x"
        with pytest.raises(UnknownNameError) as error:
            registry.require(name)
        near = nearest(name, known)
        assert len(near) <= 3
        assert all(f"`{each}`" in str(error.value) for each in near)
        shown[registry.name] = near
    figure(f"a misspelt name in each of {len(shown)} registries: {sum(map(len, shown.values()))} near ones shown")
    assert all(known for known in shown.values())


@pytest.mark.row(42)
@pytest.mark.parametrize(
    "value", ["__import__('os').system('touch attack')", "!!python/object/apply:os.system [true]", "`touch attack`"]
)
def test_a_value_that_looks_like_code_is_a_value(value, tmp_path):
    config = config_from_dict(dict(model=dict(type=value), seed=value, imports=value, hooks={value: dict(type=value)}))
    assert check(config)
    assert config.data["seed"] == value
    assert config_from_dict(config.data, [f"loss.type={value}"]).data["loss"]["type"] == value
    assert list(tmp_path.iterdir()) == []
