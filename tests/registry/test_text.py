"""What is read from text is what an import gives: names, first lines, parameters; for every registered name."""

from __future__ import annotations

import inspect
import re
import typing
from typing import Any

import pytest

from knoll.registry import Registry, UnknownNameError, check, config_from_dict
from knoll.registry.check import problems
from knoll.registry.described import Described
from knoll.registry.fit import Unimported
from knoll.registry.folders import Folders
from knoll.registry.registries import BACKBONES, DATASETS, METRICS, MODELS, OPTIMIZERS, SCHEDULERS
from knoll.registry.signature import parameters
from knoll.registry.source_text import ModuleText

KINDS = {registry.plural: registry for registry in Registry.by_key.values() if registry.locations}
NOT_OURS = ("tests", "benchmarks")  # they register what only they need, wherever they are imported before
VARIABLES = [registry._variable for registry in KINDS.values()]


def described(registry: Registry, name: str) -> Described:
    """As `Registry.describe` where nothing is imported."""
    place = registry._folders.place(name)
    return Described(*place) if place else Described(registry._library.module, name)


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_first_lines(kind):
    registry = KINDS[kind]
    registry.list()  # finds its library
    text = Folders(registry.locations, registry._variable, VARIABLES)
    names = text.names | set(registry._library.names_in_text() if registry._library else ())
    live = {name: each for name, each in registry.module_dict.items() if not each.__module__.startswith(NOT_OURS)}
    assert names == set(live)
    for name in names:
        line = text.first_line(name) if name in text else _first_line(registry, name)
        assert line == inspect.cleandoc(live[name].__doc__ or "").partition("\n")[0]


def _first_line(registry: Registry, name: str) -> str:
    from knoll.registry.source_text import module_text

    return module_text(registry._library.module).first_line(name)


@pytest.mark.parametrize(
    ("registry", "prefix"),
    [
        *((registry, prefix) for registry in (MODELS, BACKBONES) for prefix in ("timm", "torchvision")),
        *((KINDS["losses"], "timm"), (OPTIMIZERS, "timm"), (SCHEDULERS, "timm"), (DATASETS, "torchvision")),
    ],
)
def test_names_of_whole_libraries(registry, prefix):
    registry.list()
    source: Any = registry._sources[prefix]
    assert sorted(source.names_in_text()) == sorted(source.imported_names())
    assert source.names_in_text()


def test_names_of_torchmetrics():
    METRICS.list()
    for part in METRICS._sources["torchmetrics"].parts:
        assert sorted(part.names_in_text()) == sorted(part.imported_names())


@pytest.mark.parametrize("kind", KINDS)
def test_parameters(kind):
    """The annotations that text cannot give are marked, and the others are the same."""
    registry = KINDS[kind]
    for name in registry.list():
        if registry.require(name).__module__.startswith(NOT_OURS):
            continue
        read, live = described(registry, name).parameters, parameters(registry.require(name))
        assert set(read.annotations) == set(live.annotations)
        assert (read.required, read.takes_any) == (live.required, live.takes_any)
        for key, annotation in read.annotations.items():
            if not _is_partly_known(annotation):
                assert _written(annotation) == _written(live.annotations[key])


def _is_partly_known(annotation: Any) -> bool:
    return (
        "_DtypeName" in repr(annotation)
        or annotation is Unimported
        or any(_is_partly_known(each) for each in typing.get_args(annotation))
    )


def _written(annotation: Any) -> str:
    return re.sub(r" at 0x\w+", "", repr(annotation))


@pytest.mark.parametrize(
    "mistakes",
    [
        {"model.backbone.type": "LeNet55"},
        {"optimizer.momemtum": "0.9", "seed": "-1", "loss.type": "CrossEntropy"},
        {"hooks.evaluation.every": "1epp", "hooks.checkpoint.best": "val/top3", "accumulate": "0"},
        {"hooks.chekpoint": "{type: Checkpoint, every: 1ep}", "metrics.top1.top_k": "0", "train.sampler.type": "x"},
        {"train.dataset.splitt": "train", "model.head.num_classes": "many", "evaluation.val.batch_size": "0"},
    ],
)
def test_mistakes_are_those_that_signatures_of_the_classes_tell(tiny, mistakes):
    config = config_from_dict(tiny, [f"{key}={value}" for key, value in mistakes.items()])

    def from_text(registry: Registry, kind: str) -> Described:
        if not registry.has(kind):
            registry.require(kind)
        return described(registry, kind)

    found = [str(problem) for problem in problems(config, from_text)]
    assert found == [str(problem) for problem in check(config)]
    assert len(found) >= len(mistakes)


def test_a_module_in_a_form_that_outlines_do_not_expect_is_parsed_whole(tmp_path):
    file = tmp_path / "odd.py"
    file.write_text(
        "from typing import (  # (all of it)\n    Any,\n)\nclass Odd(dict, metaclass=type(dict)):\n    'Odd.'\n"
    )
    text = ModuleText("odd", file)
    assert text.names() == {"Any", "Odd"}
    assert text.first_line("Odd") == "Odd."


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of someone else's whose files register with a registry of their own."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(name: str, **files: str) -> Registry:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            "from knoll.registry import Registry\nTHINGS = Registry('thing')\n"
        )
        for stem, text in files.items():
            (tmp_path / name / f"{stem}.py").write_text(f"from {name} import THINGS\n{text}")
        registry = __import__(name).THINGS
        registry.locations = (name,)
        made.append(registry)
        return registry

    yield make
    for key in ("thing", "things"):
        Registry.by_key.pop(key, None)


def test_only_the_file_of_a_name_is_imported(package):
    import sys

    registry = package(
        "first_things",
        one="@THINGS.register_module()\nclass One: 'The first.'",
        two="@THINGS.register_module(name=['Two', 'Zwei'])\nclass Other: ...",
        three="raise RuntimeError('not now')\n@THINGS.register_module()\ndef Three(): ...",
    )
    assert registry.list() == ["One", "Three", "Two", "Zwei"]
    assert registry.first_line("One") == "The first."
    assert not {"first_things.one", "first_things.two"} & set(sys.modules)
    assert registry.require("Zwei").__name__ == "Other"
    assert "first_things.two" in sys.modules
    assert "first_things.one" not in sys.modules
    with pytest.raises(
        UnknownNameError, match=r"three.py:4 registers it, but that file cannot be imported(?s:.*)not now"
    ):
        registry.require("Three")


@pytest.mark.parametrize(
    "text",
    [
        "for size in (1, 2):\n    THINGS.register_module(name=f'Thing{size}', module=dict)",
        "if True:\n    @THINGS.register_module()\n    class Thing1: ...",
        "from first_names import THINGS as MINE\n@MINE.register_module()\nclass Thing1: ...",
        "register = THINGS.register_module\n@register()\nclass Thing1: ...",
    ],
)
def test_what_text_does_not_tell_is_imported(package, text, request):
    name = "uncertain_" + str(abs(hash(request.node.name)))
    registry = package(name, some=text.replace("first_names", name))
    assert "Thing1" in registry.list()
    assert registry.require("Thing1")
