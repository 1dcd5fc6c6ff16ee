"""What fuzzing found: configs that no person writes, and programs do."""

from __future__ import annotations

from pathlib import Path

import pytest

from knoll.registry import Config, ConfigError, check, config_from_dict, load_config, require_valid
from knoll.runner import Runner


def in_itself() -> dict:
    config: dict = dict(seed=0)
    config["hooks"] = config
    return config


def bomb() -> dict:
    laughs: object = "ha"
    for _ in range(12):
        laughs = [laughs] * 10
    return dict(x=laughs)


@pytest.mark.row(41)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (in_itself(), "is more than 100 levels deep, or holds itself"),
        (bomb(), "holds more than 100000 values"),
        (dict(seed=10**5000), "seed is a whole number of 16610 bits; 64 fit"),
        ({None: 1}, "config has the key None; keys are strings"),
        (dict(a={None: 1}), "a has the key None; keys are strings"),
    ],
)
def test_data_without_end_or_measure(data, message):
    with pytest.raises(ConfigError) as error:
        config_from_dict(data)
    assert message in str(error.value)


@pytest.mark.row(42)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", "it holds itself, or far too many values"),
        ("when: 2020-13-45", "ValueError: month must be in 1..12"),
        ("a: !!int x", "ValueError"),
        ("? [1]\n: 2", "x.yaml:1: not valid YAML: a key that is no string"),
        ("a: " + "[" * 3000, "RecursionError"),
        (
            "l0: &l0 [0]\n" + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12)),
            "it holds itself, or far too many values",
        ),
        (
            "m0: &m0 {k: 0}\n"
            + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
            "it holds itself, or far too many values",
        ),
        ("a: !!python/object/apply:os.system ['touch attack']", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
    ],
)
def test_yaml_that_is_more_than_data(text, message):
    Path("x.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config("x.yaml")
    assert message in str(error.value)
    assert [file.name for file in Path().iterdir()] == ["x.yaml"]


def test_what_merges_in_a_key_and_overrides_it_has_it_once():
    Path("x.yaml").write_text("outer: {inner: &a {<<: &b {x: 1}, x: 2}}\nsecond: {<<: *a}\n")
    assert load_config("x.yaml").data == dict(outer=dict(inner=dict(x=2)), second=dict(x=2))


@pytest.mark.row(41)
@pytest.mark.parametrize("how", ["itself", "three files", "a symbolic link", "a list"])
def test_every_way_to_inherit_oneself(how, figure):
    bases = {"itself": "'a.py'", "three files": "'b.py'", "a symbolic link": "'link.py'", "a list": "['d.py', 'b.py']"}
    Path("a.py").write_text(f"_base_ = {bases[how]}\nconfig = dict()")
    Path("b.py").write_text("_base_ = 'c.py'\nconfig = dict()")
    Path("c.py").write_text("_base_ = './a.py'\nconfig = dict()")
    Path("d.py").write_text("config = dict()")
    Path("link.py").symlink_to("a.py")
    with pytest.raises(ConfigError) as error:
        load_config("a.py")
    chain = str(error.value).removeprefix("a config inherits itself: ").split(" -> ")
    figure(f"{how}: a cycle of {len(chain) - 1} printed")
    assert (chain[0], chain[-1]) == ("a.py", "a.py")
    assert len(chain) == {"itself": 2, "a symbolic link": 2}.get(how, 4)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "loop.py"])
def test_a_base_that_no_file_can_be_called(name):
    Path("loop.py").symlink_to("pool.py")
    Path("pool.py").symlink_to("loop.py")
    Path("x.py").write_text(f"_base_ = {name!r}\nconfig = dict()")
    with pytest.raises(ConfigError, match=r"cannot be a config file: |there is no config file "):
        load_config("x.py")


def test_a_mark_of_the_byte_order_is_no_part_of_a_config():
    Path("x.py").write_bytes(b"\xef\xbb\xbfconfig = dict(seed=3)")
    assert load_config("x.py").data == dict(seed=3)


def test_an_index_of_five_thousand_digits():
    with pytest.raises(ConfigError, match="write an index from 0 to 0"):
        config_from_dict(dict(a=[1]), [f"a.{'9' * 5000}=3"])


@pytest.mark.row(40)
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        (dict(clip_norm=float("nan")), "clip_norm"),
        (dict(duration="9" * 400 + "ep"), "duration"),
        (dict(loss=dict(type="CrossEntropyLoss", weight=[None])), "loss.weight"),
        (dict(imports=[""]), "imports"),
    ],
)
def test_values_that_passed_and_broke_later(tiny, changes, path):
    assert [".".join(problem.path) for problem in check(Config(tiny | changes))] == [path]


@pytest.mark.row(40)
def test_a_value_of_a_wrong_kind_is_named_by_its_path_wherever_it_stands(tiny, figure):
    """Every value of the config, by one of each other kind: what the check takes, it takes for all its path."""
    others = [None, True, 3.7, -1, "odd", [], {}, ["odd"], {"odd": 1}]
    refused = named = 0

    def places(value, path=()):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            if isinstance(item, (dict, list)):
                yield from places(item, (*path, key))

    for path in list(places(tiny)):
        holder = tiny
        for key in path[:-1]:
            holder = holder[key]
        own = holder[path[-1]]
        for other in others:
            if type(other) is type(own):
                continue
            holder[path[-1]] = other
            if problems := check(config_from_dict(tiny)):
                refused += 1
                about = {problem.path[: len(path)] for problem in problems} | {problem.path for problem in problems}
                named += any(path[: len(each)] == each for each in about)
        holder[path[-1]] = own
    figure(f"{refused} values of a wrong kind refused, {named} of them named by their path")
    assert refused == named
    assert refused > 300


@pytest.mark.row(40)
@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda c: c["model"]["backbone"].update(in_channels=-1), "model.backbone"),
        (lambda c: c["optimizer"].update(lr=-1.0), "optimizer"),
        (lambda c: c["train"]["transforms"][0].update(size=[-1, -1, -1]), "train.transforms.0"),
        (lambda c: c["hooks"]["lr_schedule"]["scheduler"].update(last_epoch=0), "hooks.lr_schedule.scheduler"),
    ],
)
def test_what_a_constructor_refuses_is_named_by_its_path_and_line(tiny, change, place):
    change(tiny)
    with pytest.raises(ConfigError) as error:
        Runner(config_from_dict(tiny, name="tiny.py"), "run")
    assert str(error.value).startswith(f"{place} (tiny.py:1): ")
    assert "cannot be built: " in str(error.value)
    require_valid(config_from_dict(tiny))
