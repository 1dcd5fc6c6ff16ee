"""Config files: inheritance, overrides, variables, and where every value was written."""

from __future__ import annotations

import pytest
import yaml

from knoll.registry import ConfigError, load_config


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files into the working directory; the first is the config."""
    monkeypatch.chdir(tmp_path)

    def write(**files: str):
        for name, text in files.items():
            stem, _, ending = name.rpartition("_")
            (tmp_path / f"{stem}.{ending}").write_text(text)
        stem, _, ending = next(iter(files)).rpartition("_")
        return f"{stem}.{ending}"

    return write


BASE = """
optimizer = dict(type="SGD", lr=0.1, momentum=0.9)
config = dict(
    optimizer=optimizer,
    transforms=[dict(type="Flip"), dict(type="Crop", size=4)],
    hooks=dict(
        checkpoint=dict(type="Checkpoint", every=5),
        progress=dict(type="ProgressBar"),
    ),
)
"""


def test_a_dict_merges_a_type_replaces_a_list_replaces_none_removes(write):
    child = write(
        child_py='_base_ = "base.py"\nconfig = dict(optimizer=dict(lr=0.2), transforms=[dict(type="Pad")],\n'
        'hooks=dict(progress=None, checkpoint=dict(type="Other")))',
        base_py=BASE,
    )
    assert load_config(child).data == {
        "optimizer": {"type": "SGD", "lr": 0.2, "momentum": 0.9},
        "transforms": [{"type": "Pad"}],
        "hooks": {"checkpoint": {"type": "Other"}},
    }


def test_delete_replaces_a_dict_as_in_mmengine(write):
    child = write(
        child_py='_base_ = "base.py"\nconfig = dict(hooks=dict(_delete_=True, only=dict(type="X")))', base_py=BASE
    )
    assert load_config(child).data["hooks"] == {"only": {"type": "X"}}


def test_several_bases_and_yaml_over_python(write):
    child = write(
        child_yaml="_base_: [base.py, more.py]\noptimizer: {lr: 0.3}\n", base_py=BASE, more_py="config = dict(seed=7)"
    )
    data = load_config(child).data
    assert data["optimizer"]["lr"] == 0.3
    assert data["seed"] == 7
    assert data["hooks"]["checkpoint"]["every"] == 5


@pytest.mark.row(41)
def test_a_cycle_is_printed(write):
    first = write(first_py='_base_ = "second.py"\nconfig = dict()', second_py='_base_ = "first.py"\nconfig = dict()')
    with pytest.raises(ConfigError, match=r"a config inherits itself: first.py -> second.py -> first.py"):
        load_config(first)


def test_every_value_knows_its_file_and_line(write):
    child = write(child_py='_base_ = "base.py"\n\nconfig = dict(\n    optimizer=dict(lr=0.2),\n)\n', base_py=BASE)
    config = load_config(child, ["hooks.checkpoint.every=9"])
    assert str(config.origin(("optimizer", "lr"))) == "child.py:4"
    assert str(config.origin(("optimizer", "momentum"))) == "base.py:2"
    assert str(config.origin(("transforms", 1, "size"))) == "base.py:5"
    assert str(config.origin(("hooks", "progress", "type"))) == "base.py:8"
    assert str(config.origin(("hooks", "checkpoint", "every"))) == "command line"


def test_lines_are_followed_through_variables_functions_and_unpacking(write):
    path = write(
        x_py="def data(split):\n    return dict(\n        split=split,\n    )\n"
        "tail = [\n    dict(type='A'),\n]\n"
        "common = dict(\n    seed=1,\n)\n"
        "config = dict(\n    train=data('t'),\n    steps=[1, *tail],\n    more=[2] + tail,\n    **common,\n)\n"
    )
    config = load_config(path)
    assert str(config.origin(("train", "split"))) == "x.py:3"
    assert str(config.origin(("steps", 1, "type"))) == "x.py:6"
    assert str(config.origin(("more", 1, "type"))) == "x.py:6"
    assert str(config.origin(("seed",))) == "x.py:9"


def test_yaml_lines(write):
    config = load_config(write(x_yaml="model:\n  type: A\n  sizes:\n    - 1\n    - 2\n"))
    assert str(config.origin(("model", "sizes", 1))) == "x.yaml:5"


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("optimizer.lr=0.5", ("optimizer", "lr"), 0.5),
        ("optimizer.lr=1e-3", ("optimizer", "lr"), 1e-3),
        ("optimizer.nesterov=true", ("optimizer", "nesterov"), True),
        ("transforms.1.size=8", ("transforms", 1, "size"), 8),
        ("hooks.checkpoint.best=val/top1", ("hooks", "checkpoint", "best"), "val/top1"),
        ("sizes=[1, 2]", ("sizes",), [1, 2]),
        ("duration=5ep", ("duration",), "5ep"),
    ],
)
def test_overrides(write, override, path, value):
    found = load_config(write(base_py=BASE), [override]).data
    for key in path:
        found = found[key]
    assert found == value


def test_overriding_a_type_drops_the_arguments_of_the_old_one_in_any_order(write):
    for overrides in (
        ["optimizer.type=Adam", "optimizer.eps=1"],
        ["optimizer.eps=1", "optimizer.type=Adam"],
        ["optimizer={'type': 'Lion', 'wd': 2}", "optimizer.eps=1", "optimizer.type=Adam"],
    ):
        data = load_config(write(base_py=BASE), overrides).data
        assert data["optimizer"] == {"type": "Adam", "eps": 1}


def test_overriding_with_none_removes(write):
    assert "progress" not in load_config(write(base_py=BASE), ["hooks.progress=None"]).data["hooks"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer", "write key=value"),
        ("=3", "write key=value"),
        ("a..b=3", "write key=value"),
        ("optimizer.lr.x=3", "optimizer.lr is 0.1, which has nothing below it"),
        ("transforms.7.size=3", "transforms is a list of 2: write an index from 0 to 1 instead of '7'"),
        ("transforms.first.size=3", "instead of 'first'"),
    ],
)
def test_an_override_that_cannot_be_understood(write, override, message):
    with pytest.raises(ConfigError) as error:
        load_config(write(base_py=BASE), [override])
    assert message in str(error.value)


def test_a_variable_reaches_all_its_places_after_inheritance_and_overrides(write):
    base = 'config = dict(vars=dict(size=4, kind="A"), a=[dict(type="$kind", size="$size")], b=dict(size="$size"))'
    child = write(child_py='_base_ = "base.py"\nconfig = dict(vars=dict(size=8))', base_py=base)
    assert load_config(child).data == {"a": [{"type": "A", "size": 8}], "b": {"size": 8}}
    assert load_config(child, ["vars.size=16"]).data["b"]["size"] == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('config = dict(vars=dict(size=4), a="$siez")', "vars has no `siez`. Did you mean `size`?"),
        ('config = dict(vars=dict(size="$other", other=3), a="$size")', "cannot stand for another one"),
        ('config = dict(vars=dict(size=4, sise=3), a="$size")', "nothing in the config says `$sise`"),
        ("config = dict(a=print)", "a config holds plain data"),
        ("config = dict(a={1: 2})", "keys are strings"),
        ("settings = dict()", "a config file assigns a dict to the name `config`"),
        ("config = dict(", "x.py:1: not valid Python"),
        ("\nconfig = dict(a=1 / 0)", "x.py:2: running the config raised ZeroDivisionError"),
    ],
)
def test_a_bad_file_gives_one_clear_message(write, text, message):
    with pytest.raises(ConfigError) as error:
        load_config(write(x_py=text))
    assert message in str(error.value)


def test_a_missing_file_shows_the_nearest(write):
    write(resnet34_py="config = dict()")
    with pytest.raises(ConfigError, match=r"no config file resnet43.py. Did you mean `resnet34.py`"):
        load_config("resnet43.py")


@pytest.mark.parametrize("said", ["net", "net.yaml", "configs/net"])
def test_a_config_is_found_without_its_folder_or_ending(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/net.yaml").write_text("seed: 1")
    with pytest.raises(ConfigError, match=rf"^there is no config file {said}\. Did you mean `configs/net.yaml`\?$"):
        load_config(said)


@pytest.mark.parametrize("said", ["nte", "nte.py", "configs/nte.yaml", "elsewhere/nte.py"])
def test_a_misspelt_config_is_found_without_its_folder_or_ending(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/net.yaml").write_text("seed: 1")
    (tmp_path / "unlike.py").write_text("config = dict()")
    with pytest.raises(ConfigError, match=rf"^there is no config file {said}\. Did you mean `configs/net.yaml`\?$"):
        load_config(said)
    with pytest.raises(ConfigError, match=r"^there is no config file zebra\.py\.$"):
        load_config("zebra.py")


def test_bad_yaml_names_the_line(write):
    with pytest.raises(ConfigError, match=r"x.yaml:3: not valid YAML"):
        load_config(write(x_yaml="a: 1\nb: [1, 2\n"))


def test_a_key_that_stands_twice_in_yaml_is_refused(write):
    with pytest.raises(ConfigError, match=r"x.yaml:2: not valid YAML: the key `seed` stands twice"):
        load_config(write(x_yaml="seed: 1\nseed: 2\n"))


def test_a_number_of_numpy_is_a_number(write):
    config = load_config(write(x_py="import numpy as np\nconfig = dict(lr=np.float64(0.5), n=np.int32(3))"))
    assert yaml.safe_load(config.to_yaml()) == dict(lr=0.5, n=3)


@pytest.mark.parametrize("bases", ["None", "3", "[3]"])
def test_a_base_that_is_no_file_name(write, bases):
    with pytest.raises(ConfigError, match="name a file, or a list of files"):
        load_config(write(x_py=f"_base_ = {bases}\nconfig = dict()"))


def test_a_file_that_is_not_text(write, tmp_path):
    write(x_py="")
    (tmp_path / "x.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"x\.py is not a text file in UTF-8"):
        load_config("x.py")


@pytest.mark.row(42)
def test_yaml_cannot_make_objects(write):
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(write(x_yaml="a: !!python/object/apply:os.system ['true']\n"))


def test_the_resolved_config_as_yaml_loads_to_the_same(write, tmp_path):
    config = load_config(write(base_py=BASE), ["optimizer.lr=1e-7"])
    (tmp_path / "resolved.yaml").write_text(config.to_yaml())
    assert load_config("resolved.yaml").data == config.data
    assert yaml.safe_load(config.to_yaml()) == config.data
