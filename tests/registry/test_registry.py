"""The registry's public face: mmengine's, with errors that say more."""

from __future__ import annotations

import pytest

from knoll.registry import ConfigError, DuplicateNameError, Registry, UnknownNameError


@pytest.fixture
def registry():
    made = Registry("gadget")
    yield made
    for key in ("gadget", "gadgets"):
        del Registry.by_key[key]


def test_registers_under_its_own_name_given_names_and_without_parentheses(registry):
    @registry.register_module()
    class First: ...

    @registry.register_module(name=["Second", "Zweites"])
    class Other: ...

    @registry.register_module
    class Third: ...

    def fourth(): ...

    registry.register_module(name="Fourth", module=fourth)

    expected = {"First": First, "Second": Other, "Zweites": Other, "Third": Third, "Fourth": fourth}
    assert registry.module_dict == expected
    assert registry.get("Zweites") is Other
    assert registry.get("Fifth") is None
    assert "Third" in registry
    assert "Fifth" not in registry
    assert len(registry) == 5
    assert sorted(registry) == sorted(expected)
    assert registry.list("f*") == ["First", "Fourth"]


def test_builds_with_defaults_that_the_config_may_replace(registry):
    @registry.register_module()
    class Box:
        def __init__(self, width: int, height: int = 2) -> None:
            self.size = (width, height)

    assert registry.build(dict(type="Box", width=3)).size == (3, 2)
    assert registry.build(dict(type="Box"), default_args=dict(width=5)).size == (5, 2)
    assert registry.build(dict(type="Box", width=4), default_args=dict(width=5)).size == (4, 2)
    assert registry.build(dict(type=Box, width=1)).size == (1, 2)


def test_an_offered_argument_that_the_class_does_not_take_is_left_out(registry):
    @registry.register_module()
    class Plain:
        def __init__(self) -> None: ...

    assert isinstance(registry.build(dict(type="Plain"), default_args=dict(in_features=3)), Plain)


def test_a_build_func_replaces_building(registry):
    custom = Registry("gadget", build_func=lambda cfg, extra, registry: (cfg["type"], extra, registry.name))
    assert custom.build(dict(type="x"), 7) == ("x", 7, "gadget")


def test_a_duplicate_names_both_places_and_force_replaces(registry):
    def make(value):
        def same():
            return value

        return same

    registry.register_module(name="same", module=make(1))
    with pytest.raises(KeyError, match="same is already registered in gadget at") as error:
        registry.register_module(name="same", module=lambda: 2)
    assert str(error.value).count("test_registry.py:") == 2
    assert isinstance(error.value, DuplicateNameError)
    registry.register_module(name="same", module=make(2), force=True)
    assert registry.build(dict(type="same")) == 2


def test_a_notebook_cell_may_be_run_twice(registry):
    for _ in range(2):
        source = "class Cell: ...\nregistry.register_module(module=Cell)"
        exec(source, {"registry": registry, "__name__": "__main__"})
    assert len(registry) == 1


@pytest.mark.parametrize(
    ("call", "error", "begins"),
    [
        (lambda r: r.register_module(force=1), TypeError, "force must be a boolean, but got"),
        (lambda r: r.register_module(name=5), TypeError, "name must be None, an instance of str, or a sequence"),
        (lambda r: r.register_module(module=5), TypeError, "module must be Callable, but got"),
        (lambda r: r.get(5), TypeError, "The key argument of `Registry.get` must be a str, got"),
        (lambda r: r.build("x"), TypeError, "cfg should be a dict, ConfigDict or Config, but got"),
        (lambda r: r.build(dict(type="x"), default_args=1), TypeError, "default_args should be a dict"),
        (lambda r: r.build(dict(width=1)), KeyError, '`cfg` or `default_args` must contain the key "type"'),
        (lambda r: r.build(dict(type=3)), TypeError, "type must be a str or valid type, but got"),
        (lambda r: r.build(dict(type="nothing")), KeyError, "nothing is not in the gadget registry"),
    ],
)
def test_errors_are_mmengines_in_kind_and_beginning(registry, call, error, begins):
    with pytest.raises(error) as raised:
        call(registry)
    assert str(raised.value).startswith(begins)


def test_an_unknown_name_shows_the_nearest_ones(registry):
    for name in ("ResNet", "ResNext", "VGG"):
        registry.register_module(name=name, module=dict)
    with pytest.raises(UnknownNameError, match="Did you mean `ResNet` or `ResNext`"):
        registry.build(dict(type="resnet3"))


def test_wrong_arguments_are_all_named_at_once(registry):
    @registry.register_module()
    class Box:
        def __init__(self, width: int, height: float) -> None: ...

    with pytest.raises(ConfigError) as raised:
        registry.build(dict(type="Box", widht=3, height="tall"))
    message = str(raised.value)
    assert "widht: unknown key. Did you mean `width`?" in message
    assert "height: expected a number, got 'tall' (str)" in message
    assert "width: is missing" in message


@pytest.mark.row(38)
@pytest.mark.parametrize("name", ["os.system", "subprocess.getoutput", "json", "knoll.runner", "torch.nn.Linear"])
def test_a_type_never_imports_or_calls_what_is_not_registered(name, registry, monkeypatch):
    monkeypatch.setattr("importlib.import_module", lambda *_: pytest.fail("something was imported"))
    with pytest.raises(UnknownNameError):
        registry.build(dict(type=name))


def test_an_error_in_a_constructor_says_what_was_being_built(registry):
    @registry.register_module()
    class Fails:
        def __init__(self) -> None:
            raise RuntimeError("inside")

    with pytest.raises(ConfigError, match="gadget Fails cannot be built: RuntimeError: inside"):
        registry.build(dict(type="Fails"))
