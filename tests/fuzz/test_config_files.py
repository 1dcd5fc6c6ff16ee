"""Files of configs as they come from editors, merges and broken disks; and what is typed behind a command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st

from knoll.registry import Config, check, load_config

ROOT = Path(__file__).parents[2]
PYTHON = [file.read_bytes() for file in sorted((ROOT / "configs").glob("*.py"))]
YAML = [load_config(file).to_yaml().encode() for file in sorted((ROOT / "configs").glob("*.py"))]
# Anchors and merges, which the configs' own YAML has none of.
YAML.append(b"a: &a {x: 1, y: [1, 2.5]}\nb: &b {<<: *a, z: ~}\nc: {<<: [*a, *b], when: 2020-01-02}\nd: [*a, *b]\n")

PIECES = [
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\t",
        b"\r\n",
        b"\r",
        b"\xe2\x80\xa8",
        b"\xed\xa0\x80",
        b"\x1b[2J",
        b"\x85",
    ),
    *(b"<<<<<<< HEAD\n", b"'''", b'"""', b"\\", b"(" * 300, b"[" * 3000, b"{a: " * 2000, b"- " * 2000, b"9" * 5000),
    *(b"_base_: x.yaml\n", b"_base_ = 'x.py'\n", b"_base_: [..]\n", b"_base_: {a: 1}\n", b"_base_ = '\\0'\n"),
    *(
        b"config = 3\n",
        b"config.update(config)\n",
        b"config['x'] = config\n",
        b"1/0\n",
        b"del config\n",
        b"vars=print\n",
    ),
    *(b"&a ", b"*a ", b"*b", b"<<: *a\n", b"<<: *b\n", b"<<: 3\n", b"? [1]\n: 2\n", b"---\n", b"...\n", b"%YAML 9.9\n"),
    *(b"!!python/object/apply:os.abort []\n", b"!!python/name:os.system ", b"!!binary x", b"!!int x", b"!!float ''"),
    *(b"!!timestamp x", b"!!bool x", b"!!set {1}", b"!!omap [1]", b"!!pairs 3", b"!!map [1]", b"!!seq {}", b"!x y"),
    *(b"2020-13-45", b"2020-01-01 25:61:61", b"0x", b"1_", b"190:20:30.15", b".inf", b".nan", b"~", b"0o7", b"1e999"),
    *(b"x: &x [*x]\n", b"x: &x {y: *x}\n", b"$size", b"vars: {size: $size}\n", b"vars: 3\n", b"null: 1\n", b"3: 4\n"),
    b"l0: &l0 [0]\n"
    + b"".join(b"l%d: &l%d [%s]\n" % (n, n, b", ".join([b"*l%d" % (n - 1)] * 9)) for n in range(1, 12)),
    b"m0: &m0 {k: 0}\n"
    + b"".join(b"m%d: &m%d {<<: [%s]}\n" % (n, n, b", ".join([b"*m%d" % (n - 1)] * 9)) for n in range(1, 12)),
]


@st.composite
def spoilt(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A file cut off, with bytes flipped or put in, with lines moved, or with something else's lines in it."""
    text = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(text) - 1)))
        how = draw(st.integers(0, 6))
        if how == 0 and text:
            text[place] ^= 1 << draw(st.integers(0, 7))
        elif how == 1:
            text[place:place] = draw(st.sampled_from(PIECES))
        elif how == 2:
            at = text.rfind(b"\n", 0, place) + 1  # a whole line of its own
            text[at:at] = draw(st.sampled_from(PIECES)).rstrip(b"\n") + b"\n"
        elif how == 3:
            del text[place : place + draw(st.integers(1, 40))]
        elif how == 4:
            text[place:place] = draw(st.binary(max_size=6))
        elif how == 5:
            lines = bytes(text).splitlines(keepends=True)
            first, second = draw(st.tuples(*[st.integers(0, max(0, len(lines) - 1))] * 2))
            if lines:
                lines[first], lines[second] = lines[second], lines[first]
            text = bytearray(b"".join(lines))
        elif draw(st.integers(0, 4)) == 0:
            del text[place:]
    return bytes(text)


def read(data: bytes, name: str) -> Config:
    Path(name).write_bytes(data)
    config = load_config(name)
    [config.origin(problem.path) for problem in check(config)]
    return config


@pytest.mark.row(40)
@pytest.mark.usefixtures("index_in_memory")
def test_any_python_file_is_a_config_or_refused(fuzz, attempt, figure):
    shutil.copytree(ROOT / "configs/_base_", "_base_")
    seen = fuzz(800, spoilt(PYTHON), lambda data: attempt(read, data, "spoilt.py"))
    figure(f"{seen.total():,} spoilt Python configs: {seen['refused']:,} refused by a message, 0 tracebacks")
    assert seen["refused"] > 300


@pytest.mark.row(42)
@pytest.mark.usefixtures("index_in_memory")
def test_any_yaml_file_is_the_config_that_yaml_says_or_refused(fuzz, attempt, figure):
    def same_as_yaml(data: bytes) -> None:
        config = read(data, "spoilt.yaml")
        told = yaml.safe_load(data.decode("utf-8-sig"))
        if not {"_base_", "vars", "_delete_"} & set(told):
            assert repr(config.data) == repr(told)

    seen = fuzz(800, spoilt(YAML), lambda data: attempt(same_as_yaml, data))
    figure(
        f"{seen.total():,} spoilt YAML configs, with tags of Python objects, aliases of themselves and bombs: "
        f"{seen['refused']:,} refused by a message, {seen['taken']:,} what PyYAML's safe loader reads, 0 tracebacks"
    )
    assert seen["refused"] > 300
    assert seen["taken"] > 100


KEYS = [
    "optimizer",
    "lr",
    "train",
    "transforms",
    "0",
    "5",
    "-1",
    "type",
    "model",
    "vars",
    "x",
    "",
    "hooks",
    "_delete_",
    "9" * 5000,
]
WORDS = [
    *(
        "=",
        "==",
        ".",
        "..",
        "a",
        "0.1",
        "1e-3",
        "[1, 2",
        "{'a': 1}",
        "{1: 2}",
        "(1,)",
        "b'x'",
        "{1, 2}",
        "1j",
        "...",
        "$x",
    ),
    *("None", "true", "'", '"', "\\", "\0", "\n", "\ud800", "é", "٣", "²", "--", "9" * 5000, "(" * 500, "[" * 500),
    *("__import__('os')", "lambda: 1", "{'type': 'Adam'}", "{'_delete_': True}", "[[]]*9", "f'{1}'", "-" * 3000 + "1"),
]
OVERRIDES = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.builds("{}={}".format, st.lists(st.sampled_from(KEYS), max_size=5).map(".".join), st.sampled_from(WORDS)),
    st.builds(
        "{}={}".format,
        st.lists(st.sampled_from(KEYS), max_size=5).map(".".join),
        st.lists(st.sampled_from(WORDS)).map("".join),
    ),
)


@pytest.mark.row(40)
@pytest.mark.usefixtures("index_in_memory")
def test_any_override_is_understood_or_refused(fuzz, attempt, figure):
    path = ROOT / "configs/resnet34_flowers.py"
    seen = fuzz(800, st.lists(OVERRIDES, min_size=1, max_size=3), lambda words: attempt(check_with, path, words))
    figure(f"{seen.total():,} words typed as overrides: {seen['refused']:,} refused by a message, 0 tracebacks")
    assert seen["refused"] > 300
    assert seen["taken"] > 100


def check_with(path: Path, overrides: list[str]) -> None:
    config = load_config(path, overrides)
    [str(problem) for problem in check(config)]
    config.to_yaml()
