"""What a registry makes of the files of its folders: which of them register, and what."""

from __future__ import annotations

import sys

import pytest

from knoll.registry import Registry, UnknownNameError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of someone else's with a registry of its own; its files are given by their names."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, files: dict[str, str]) -> Registry:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("from knoll.registry import Registry\nTHINGS = Registry('thing')\n")
        for file, text in files.items():
            (folder / file).write_text(f"from {name} import THINGS\n{text}")
        registry = __import__(name).THINGS
        registry.locations = (name,)
        return registry

    yield make
    for key in ("thing", "things"):
        Registry.by_key.pop(key, None)


@pytest.mark.parametrize("quotes", ['"""', "'''"])
@pytest.mark.parametrize("before", ["", "# it's \"\"\"\n", "X = '\"\"\"'\n", "X = \"'''\"\n", '"""A \\"""."""\n'])
def test_an_example_in_a_string_registers_nothing(package, quotes, before, request):
    example = f"USAGE = {quotes}\n@THINGS.register_module()\nclass Gone: ...\n{quotes}\n"
    registered = "@THINGS.register_module()\nclass {}: ...\n"
    files = {"example.py": before + example + registered.format("Here"), "real.py": registered.format("Gone")}
    registry = package(f"strings_{abs(hash(request.node.name))}", files)
    assert registry.list() == ["Gone", "Here"]
    assert registry.require("Gone").__module__.endswith(".real")
