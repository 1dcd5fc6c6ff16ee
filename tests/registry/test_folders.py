"""What a registry makes of the files of its folders: which of them register, and what."""

from __future__ import annotations

import sys

import pytest

from knoll.registry import Registry, UnknownNameError
from knoll.registry.discover import import_folders


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
@pytest.mark.parametrize("before", ["", '# it\'s """\n', 'X = \'"""\'\n', "X = \"'''\"\n", '"""A \\"""."""\n'])
def test_an_example_in_a_string_registers_nothing(package, quotes, before, request):
    example = f"USAGE = {quotes}\n@THINGS.register_module()\nclass Gone: ...\n{quotes}\n"
    registered = "@THINGS.register_module()\nclass {}: ...\n"
    files = {"example.py": before + example + registered.format("Here"), "real.py": registered.format("Gone")}
    registry = package(f"strings_{abs(hash(request.node.name))}", files)
    assert registry.list() == ["Gone", "Here"]
    assert registry.require("Gone").__module__.endswith(".real")


@pytest.mark.parametrize("bound", ["Net = _Impl", "class Net: ...\nNet = _Impl", "from .impl import Net"])
def test_what_is_registered_under_a_name_that_it_only_bears_here_has_its_own(package, bound, request):
    impl = "class _Impl: ...\nNet = _Impl\n"
    files = {"some.py": f"{impl}{bound}\nTHINGS.register_module(module=Net)", "impl.py": impl}
    registry = package(f"bound_{abs(hash(request.node.name))}", files)
    assert registry.list() == ["_Impl"]
    assert registry.require("_Impl").__name__ == "_Impl"
    with pytest.raises(UnknownNameError):
        registry.require("Net")


def test_a_class_of_the_file_is_registered_by_its_name_without_an_import(package):
    registry = package("own_name", {"some.py": "class Net: ...\nTHINGS.register_module(module=Net)"})
    assert registry.list() == ["Net"]
    assert "own_name.some" not in sys.modules
    assert registry.require("Net").__module__ == "own_name.some"


def test_what_editors_leave_in_a_folder_is_passed_over(package, tmp_path):
    registered = "@THINGS.register_module()\nclass Net: ..."
    registry = package("edited", {"net.py": registered, "net.v2.py": registered})
    (tmp_path / "edited/.#net.py").symlink_to("someone@somewhere.123")
    (tmp_path / "edited/.saved").mkdir()
    (tmp_path / "edited/.saved/__init__.py").write_text(registered)
    assert registry.list() == ["Net"]
    assert registry.require("Net").__module__ == "edited.net"
    with pytest.raises(UnknownNameError) as error:
        registry.require("Nothing")
    assert "cannot be imported" not in str(error.value)


def test_an_editors_lock_beside_plugins_is_passed_over(tmp_path):
    (tmp_path / ".#net.py").symlink_to("someone@somewhere.123")
    import_folders([str(tmp_path)])


FUNCTION = "def register(cls):\n    THINGS.register_module(module=cls)\n    return cls\n"
BASE = "class Base:\n    def __init_subclass__(cls):\n        THINGS.register_module(module=cls)\n"


@pytest.mark.parametrize(
    ("helper", "user"),
    [
        (FUNCTION, "from .helper import register\n@register\nclass Mine: ..."),
        ("register = THINGS.register_module\n", "from .helper import register\n@register()\nclass Mine: ..."),
        (
            "register = lambda cls: THINGS.register_module(module=cls)\n",
            "from . import helper\nclass Mine: ...\nhelper.register(Mine)",
        ),
        (BASE, "from .helper import Base\nclass Mine(Base): ..."),
        (BASE, "from .between import Between\nclass Mine(Between): ..."),
        (
            FUNCTION,
            "from .helper import register\n@THINGS.register_module()\nclass Own: ...\n@register\nclass Mine: ...",
        ),
    ],
)
def test_what_registers_through_another_file_is_found(package, helper, user, request):
    between = "from . import helper\nBetween = getattr(helper, 'Base', None)\n"
    files = {
        "helper.py": helper,
        "between.py": between,
        "mine.py": user,
        "a.py": "@THINGS.register_module()\nclass A: ...",
    }
    name = f"through_{abs(hash(request.node.name))}"
    registry = package(name, files)
    assert registry.has("A")
    assert f"{name}.mine" not in sys.modules
    assert registry.has("Mine")
    assert registry.require("Mine").__module__ == f"{name}.mine"
    assert "Mine" in registry.list()
    assert f"{name}.a" in sys.modules


LIBRARY = (
    "from knoll.registry import BACKBONES\ndef register(cls):\n    THINGS.register_module(module=cls)\n    return cls\n"
)


@pytest.mark.parametrize("source", ["from {} import register", "import {}\nregister = {}.register"])
def test_what_registers_through_a_library_that_speaks_of_knoll_is_found(package, tmp_path, source, request):
    library = f"library_{abs(hash(request.node.name))}"
    text = source.replace("{}", library) + "\n@register\nclass Mine: ..."
    registry = package(f"with_{library}", {"mine.py": text})
    (tmp_path / f"{library}.py").write_text(f"from with_{library} import THINGS\n{LIBRARY}")
    assert registry.require("Mine").__module__ == f"with_{library}.mine"


def test_a_helper_that_nobody_could_borrow_from_leaves_the_folder_alone(package):
    files = {
        "loop.py": "for each in (dict, list):\n    THINGS.register_module(module=each)",
        "other.py": "class Other: ...",
    }
    registry = package("no_helper", files)
    with pytest.raises(UnknownNameError, match="Did you mean `dict`"):
        registry.require("dicc")
    assert "no_helper.other" not in sys.modules


def test_a_file_of_these_that_fails_is_told_beside_the_nearest_names(package):
    files = {"helper.py": FUNCTION, "mine.py": "from .helper import register\n@register\nclass Mine: ..."}
    files["broken.py"] = "from .helper import register\n1 / 0\n@register\nclass Yours: ..."
    registry = package("with_broken", files)
    with pytest.raises(UnknownNameError, match=r"(?s)Did you mean `Mine`.*broken.py:3 cannot be imported: ZeroDiv"):
        registry.require("Mime")
