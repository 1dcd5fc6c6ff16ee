"""Tar shards in WebDataset's layout, written by webdataset and by tarfile, whole and damaged."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from knoll.datasets.layouts import tar_shards
from knoll.datasets.layouts.tar_shards import TarShards, expand
from knoll.registry import ConfigError, UnavailableError, UserError


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: str, members: list[tuple[str, bytes]], **options) -> None:
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


def members(first: int, count: int) -> list[tuple[str, bytes]]:
    pairs = [((f"{n:04d}.png", png(n)), (f"{n:04d}.cls", str(n % 3).encode())) for n in range(first, first + count)]
    return [member for pair in pairs for member in pair]


@pytest.fixture
def shards(working_directory) -> str:
    """Three shards of four samples each; sample n is of the grey n and of class n % 3."""
    for number in range(3):
        write_tar(f"x-{number:03d}.tar", members(4 * number, 4))
    return "x-{000..002}.tar"


def greys(dataset: TarShards) -> list[int]:
    return [dataset[index][0].getpixel((0, 0))[0] for index in range(len(dataset))]


def test_shards(shards):
    dataset = TarShards(shards)
    assert greys(dataset) == list(range(12))
    assert dataset.labels == [n % 3 for n in range(12)]
    assert dataset.classes == ["0", "1", "2"]
    assert dataset.encoded(7) == png(7)
    assert (dataset.name(7), dataset.place(7)) == ("x-001/0007", "x-001.tar: 0007")
    assert TarShards(["x-002.tar", "x-000.tar"], classes=["a", "b", "c"]).labels == [2, 0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_other_letters(working_directory, format):
    key = "蚂蚁/a b\nc/" + "d" * 90 if format == tarfile.USTAR_FORMAT else "蚂蚁/a b\nc/" + "d" * 300
    write_tar("x.tar", [(f"./{key}.PNG", png(1)), (f"./{key}.txt", b"ants\n")], format=format)
    dataset = TarShards("x.tar", label="txt")
    assert (greys(dataset), dataset.classes, dataset.place(0)) == ([1], ["ants"], f"x.tar: ./{key}")


def test_shards_that_webdataset_wrote_and_reads(working_directory):
    wds = pytest.importorskip("webdataset")
    with wds.ShardWriter("x-%03d.tar", maxcount=3, verbose=0) as sink:
        for number in range(8):
            sink.write({"__key__": f"s{number}", "png": np.full((4, 5, 3), number, np.uint8), "cls": number % 2})
    dataset = TarShards("x-{000..002}.tar")
    assert greys(dataset) == list(range(8))
    theirs = wds.WebDataset("x-{000..002}.tar", shardshuffle=False)
    for index, sample in enumerate(theirs):
        assert dataset.encoded(index) == sample["png"]
        assert dataset.labels[index] == int(sample["cls"])
        assert dataset.name(index).endswith(f"/{sample['__key__']}")


def test_labels_in_json(working_directory):
    wds = pytest.importorskip("webdataset")
    with wds.TarWriter("x.tar") as sink:
        for number, kind in enumerate(["bees", "ants"]):
            sink.write(
                {"__key__": str(number), "jpg": np.zeros((9, 9, 3), np.uint8), "json": dict(kind=kind, label=number)}
            )
    assert TarShards("x.tar", label="json", label_key="kind").classes == ["ants", "bees"]
    assert TarShards("x.tar", label="json", classes=["bee", "ant"]).labels == [0, 1]
    with pytest.raises(UserError, match=r"x.tar: 0: 'json' is not JSON, or has no entry 'name'"):
        TarShards("x.tar", label="json", label_key="name")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_at_the_same_time(shards, method):
    dataset = TarShards(shards)
    dataset.encoded(0)  # opens a shard, which forked processes then share
    wanted = list(range(12)) * 20
    with multiprocessing.get_context(method).Pool(3) as pool:
        read = pool.map_async(dataset.encoded, wanted, chunksize=1)
        assert all(dataset.encoded(index) == png(index) for index in wanted)
        assert read.get(120) == [png(index) for index in wanted]


def test_more_shards_than_may_be_open_at_once(working_directory, monkeypatch):
    count = tar_shards._OPEN_FILES + 20
    for number in range(count):
        write_tar(f"x-{number:03d}.tar", members(number, 1))
    before = len(os.listdir("/dev/fd"))
    dataset = TarShards(f"x-{{000..{count - 1:03d}}}.tar")
    assert greys(dataset) == list(range(count))
    assert len(os.listdir("/dev/fd")) <= before + tar_shards._OPEN_FILES


def test_the_index_is_small_and_holds_no_open_file(shards):
    dataset = TarShards(shards)
    again = pickle.loads(pickle.dumps(dataset))
    assert greys(again) == list(range(12))


@pytest.mark.parametrize("how", ["written over", "replaced", "cut off"])
def test_a_shard_that_changes_is_noticed(shards, how):
    dataset = TarShards(shards)
    dataset.encoded(4)
    if how == "cut off":
        os.truncate("x-001.tar", 1000)
    else:
        write_tar("new.tar" if how == "replaced" else "x-001.tar", members(50, 4))
        os.utime("new.tar" if how == "replaced" else "x-001.tar", ns=(0, 0))
        if how == "replaced":
            os.replace("new.tar", "x-001.tar")
            tar_shards._opened.cache_clear()  # as in a process that opens it only now
    with pytest.raises(UserError, match=r"x-001.tar has changed since it was indexed: start again"):
        dataset.encoded(4)
    assert dataset.encoded(0) == png(0)


def test_a_shard_cut_off_anywhere_is_refused(shards):
    whole = Path("x-000.tar").read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512  # of the last file; behind it there are only zeros
    for length in np.random.default_rng(0).integers(0, end, 100):
        Path("x-000.tar").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"x-000.tar is damaged"):
            TarShards("x-000.tar")


def test_a_damaged_header_is_not_the_end(shards):
    whole = bytearray(Path("x-000.tar").read_bytes())
    at = whole.index(b"0002.png")
    whole[at] ^= 1
    Path("x-000.tar").write_bytes(whole)
    with pytest.raises(UserError, match=f"x-000.tar is damaged after {at} bytes"):
        TarShards("x-000.tar")


def test_nothing_is_written_wherever_names_lead(working_directory):
    outside = working_directory / "outside"
    outside.mkdir()
    names = ["../evil", f"{outside}/evil", "a/../../evil"]
    write_tar("x.tar", [(f"{name}.{part}", data) for name in names for part, data in (("png", png(3)), ("cls", b"0"))])
    before = sorted(working_directory.rglob("*"))
    dataset = TarShards("x.tar")
    assert greys(dataset) == [3, 3, 3]
    assert sorted(working_directory.rglob("*")) == before
    assert not (working_directory.parent / "evil.png").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_stands_for_nothing(working_directory, kind):
    (working_directory / "secret.png").write_bytes(png(1))
    with tarfile.open("x.tar", "w") as tar:
        header = tarfile.TarInfo("0.png")
        header.type, header.linkname = kind, "secret.png"
        tar.addfile(header)
    with pytest.raises(UserError, match=r"x.tar: 0.png is a link or something else"):
        TarShards("x.tar")


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([("0.cls", b"0")], {}, "x.tar: 0 has no images; it has cls: name the right one, as `image`"),
        ([("0.png", png(0)), ("0.jpg", png(0)), ("0.cls", b"0")], {}, "x.tar: 0 has 2 images; it has png, jpg, cls"),
        ([("0.png", png(0)), ("0.cls", b"0")], dict(image="jpg"), "x.tar: 0 has no part 'jpg'"),
        ([("0.png", png(0))], {}, "x.tar: 0 has no part 'cls' with its label; it has png"),
        ([("0.png", png(0)), ("0.cls", b" ")], {}, "x.tar: 0: the label is ' '"),
        ([("0.png", png(0)), ("0.cls", b"\xff")], {}, "x.tar: 0: the label in 'cls' is not text"),
        ([("0.png", png(0)), ("0.json", json.dumps(dict(label=0.5)).encode())], dict(label="json"), "label is 0.5"),
        ([("0.png", png(0)), ("0.cls", b"2")], dict(classes=["a", "b"]), "x.tar: 0: the label is 2; .* 0 to 1"),
        ([("0.png", png(0)), ("0.png", png(1))], {}, "x.tar: there are two files 0.png"),
        ([("README", b"")], {}, "x.tar has no samples"),
    ],
)
def test_samples_that_are_not_whole(working_directory, given, options, message):
    write_tar("x.tar", given)
    with pytest.raises(UserError, match=message):
        TarShards("x.tar", **options)


def test_an_image_that_is_none_is_named_with_its_shard(working_directory):
    write_tar("x.tar", [("0.png", b"text"), ("0.cls", b"0")])
    with pytest.raises(UserError, match=r"x.tar: 0 cannot be read as an image"):
        TarShards("x.tar")[0]


def test_files_that_are_no_shards(working_directory):
    with pytest.raises(UnavailableError, match=r"there is no shard x-001.tar"):
        TarShards("x-{001..002}.tar")
    with tarfile.open("x.tar.gz", "w:gz"):
        pass
    with pytest.raises(UserError, match=r"x.tar.gz is damaged or no tar file .*: unpack it to a .tar"):
        TarShards("x.tar.gz")
    Path("x.tar").write_text("<html>")
    with pytest.raises(UserError, match=r"x.tar is damaged or no tar file"):
        TarShards("x.tar")


def test_braces_stand_for_what_a_shell_makes_of_them():
    assert expand("x-{08..10}.tar") == ["x-08.tar", "x-09.tar", "x-10.tar"]
    assert expand("{a,b}/{1..2}.tar") == ["a/1.tar", "a/2.tar", "b/1.tar", "b/2.tar"]
    assert expand("x.tar") == ["x.tar"]
    with pytest.raises(ConfigError, match="runs backwards"):
        expand("x-{3..1}.tar")
