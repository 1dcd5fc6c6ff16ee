"""Real archives that mean harm, are damaged, or are well: what is written, and where."""

from __future__ import annotations

import gzip
import io
import random
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knoll.datasets.flowers.archives import unpack
from knoll.registry import UnavailableError

pytestmark = pytest.mark.row(35)

GOOD = {
    "photos/daisy/1 ü.jpg": b"first",
    "photos/daisy/雏菊.jpg": b"second",
    "photos/LICENSE.txt": b"by",
    "more.txt": b"x",
}
Entry = tuple[str, bytes, dict[str, Any]]


def tar(path: str, *entries: Entry, mode: str = "w:gz") -> Path:
    """A tar archive; what an entry's dict has are fields of its header."""
    with tarfile.open(path, mode) as archive:
        for name, content, fields in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return Path(path)


def zipped(path: str, *entries: Entry) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, fields in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name  # past the constructor, which would make it harmless
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in fields.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return Path(path)


def good(mode: str) -> Path:
    entries = [(name, content, {}) for name, content in GOOD.items()]
    return zipped("good.zip", *entries) if mode == "zip" else tar("good.tar", *entries, mode=mode)


KINDS = ["w:", "w:gz", "w:bz2", "w:xz", "zip"]


@pytest.fixture
def refusal(working_directory) -> Callable[..., str]:
    """Why an archive is refused; afterwards there is no file that was not there before."""

    def refuse(archive: Path, **options: Any) -> str:
        (working_directory / "inner").mkdir(exist_ok=True)
        before = sorted(working_directory.rglob("*"))
        with pytest.raises(UnavailableError) as error:
            unpack(archive, working_directory / "inner/data", **options)
        assert sorted(working_directory.rglob("*")) == before
        said = str(error.value)
        assert said.startswith(f"{archive} cannot be unpacked to ")
        return said.partition("inner/data: ")[2]

    return refuse


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_archive(kind):
    unpack(good(kind), Path("new/data"))
    found = {file.relative_to("new/data").as_posix(): file for file in Path("new/data").rglob("*") if file.is_file()}
    assert {name: file.read_bytes() for name, file in found.items()} == GOOD
    assert list(Path("new").iterdir()) == [Path("new/data")]


@pytest.mark.parametrize("kind", KINDS)
def test_one_folder_of_it(kind):
    unpack(good(kind), Path("data"), top="photos")
    assert sorted(each.name for each in Path("data").iterdir()) == ["LICENSE.txt", "daisy"]


def test_as_the_tool_tar_writes_it():
    """With an entry for each folder, and `./` before the names."""
    Path("photos/daisy").mkdir(parents=True)
    Path("photos/daisy/1.jpg").write_bytes(b"first")
    subprocess.run(["tar", "czf", "made.tgz", "./photos"], check=True)
    unpack(Path("made.tgz"), Path("data"), top="photos")
    assert Path("data/daisy/1.jpg").read_bytes() == b"first"


def test_a_folder_that_is_not_in_it(refusal):
    assert refusal(good("w:gz"), top="flowers") == "it has no folder flowers"


OUTSIDE = ["../evil", "photos/../../evil", "/evil", "//server/evil", "C:evil", "C:\\evil", "\\evil", "..\\evil", "a\nb"]


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out(make, name, refusal, figure):
    said = refusal(make("evil.archive", ("photos/1.jpg", b"good", {}), (name, b"evil", {})))
    assert said.startswith(f"{name!r} in it ")
    assert not Path("/evil").exists()
    outside = [file for file in Path().rglob("*") if b"evil" in file.name.encode() and file.name != "evil.archive"]
    figure(f"{name!r} by {make.__name__}: refused, {len(outside)} files written")
    assert outside == []


LINKS = {
    "a link that leads out": dict(type=tarfile.SYMTYPE, linkname="../../outside"),
    "a link to a file": dict(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a second name": dict(type=tarfile.LNKTYPE, linkname="../../outside"),
    "a device": dict(type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a disk": dict(type=tarfile.BLKTYPE, devmajor=8, devminor=0),
    "a pipe": dict(type=tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("name", LINKS)
def test_links_and_devices_in_a_tar(name, refusal):
    """The classical way out: a link to a folder outside, then a file below the link."""
    Path("outside").mkdir()
    entries = ("photos/there", b"", LINKS[name]), ("photos/there/evil", b"evil", {})
    kind = "a link" if "link" in name or "name" in name else "a device"
    assert refusal(tar("evil.tgz", *entries)) == f"'photos/there' in it is {kind}"


def test_a_link_in_a_zip(refusal):
    link = dict(create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16)
    archive = zipped("evil.zip", ("there", b"/tmp", link), ("there/evil", b"evil", {}))
    assert refusal(archive) == "'there' in it is a link"


def test_an_encrypted_zip(refusal):
    content = bytearray(zipped("secret.zip", ("1.jpg", b"secret", {})).read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    Path("secret.zip").write_bytes(content)
    assert refusal(Path("secret.zip")) == "'1.jpg' in it is encrypted"


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("names", [("a/1.jpg", "a/1.jpg"), ("a/1.jpg", "A/1.JPG"), ("a/1.jpg", "./a//1.jpg")])
def test_two_files_of_one_name(make, names, refusal):
    archive = make("twice.archive", *((name, name.encode(), {}) for name in names))
    assert refusal(archive) == f"{names[1]!r} is in it twice"


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_bomb(make, refusal):
    """200 MB of zeros in 200 kB."""
    archive = make("bomb.archive", ("zeros", bytes(200_000_000), {}))
    assert archive.stat().st_size < 300_000
    assert refusal(archive).startswith("it would become larger than ")


def test_a_file_may_be_large_where_that_is_expected():
    archive = tar("zeros.tgz", ("zeros.npy", bytes(20_000_000), {}))
    unpack(archive, Path("data"), most=21_000_000)
    assert Path("data/zeros.npy").stat().st_size == 20_000_000


@pytest.mark.parametrize("make", [tar, zipped])
def test_more_than_expected(make, refusal):
    archive = make("large.archive", ("1.bin", random.Random(0).randbytes(300_000), {}))
    assert refusal(archive, most=200_000).startswith("it would become larger than 0 MB")


def test_a_file_that_is_said_to_have_a_terabyte(refusal):
    info = tarfile.TarInfo("1.bin")
    info.size = 1 << 40
    Path("huge.tgz").write_bytes(gzip.compress(info.tobuf() + bytes(10_000)))
    assert refusal(Path("huge.tgz")).startswith("it would become larger than 10 MB")


HEADER_BOMB = """
import re, pathlib
from knoll.datasets.flowers.archives import unpack
from knoll.registry import UnavailableError
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
try:
    unpack(pathlib.Path("bomb.tgz"), pathlib.Path("data"))
except UnavailableError as error:
    print(peak() - before, error)
"""


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_name_of_120_megabytes(kind, figure):
    """tarfile would read it into memory."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("no /proc here, which tells how much memory a process has taken")
    info = tarfile.TarInfo("name")
    info.type, info.size = kind, 120_000_000
    Path("bomb.tgz").write_bytes(gzip.compress(info.tobuf() + b"a" * info.size, 1))
    done = subprocess.run([sys.executable, "-c", HEADER_BOMB], capture_output=True, text=True, timeout=120)
    grown, _, said = done.stdout.partition(" ")
    assert "a name in it is said to have 120000" in said
    figure(f"a name of 120 MB in a tar: refused, memory grew by {int(grown)} MB")
    assert int(grown) < 50


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_off_is_refused_or_whole(kind, refusal):
    archive = good(kind)
    content = archive.read_bytes()
    refused = 0
    for length in range(0, len(content), max(1, len(content) // 60)):
        archive.write_bytes(content[:length])
        try:
            unpack(archive, Path(f"data{length}"))
        except UnavailableError:
            refused += 1
            assert not Path(f"data{length}").exists()
        else:
            files = [file for file in Path(f"data{length}").rglob("*") if file.is_file()]
            assert sorted(file.read_bytes() for file in files) == sorted(GOOD.values())
    assert refused > 20


def test_a_damaged_header_is_not_taken_for_the_end(refusal):
    """tarfile would leave out all that follows, and say nothing."""
    archive = good("w:")
    content = bytearray(archive.read_bytes())
    content[content.index(b"photos/LICENSE")] ^= 1
    archive.write_bytes(content)
    assert refusal(archive) == "it is damaged, or cut off"


def test_a_damaged_file_in_a_zip(refusal):
    archive = zipped("bad.zip", ("1.bin", random.Random(0).randbytes(1000), {}))
    content = bytearray(archive.read_bytes())
    content[500] ^= 1
    archive.write_bytes(content)
    assert refusal(archive) == "Bad CRC-32 for file '1.bin'"


def test_a_zip_that_lies_about_a_size(refusal):
    archive = zipped("liar.zip", ("1.bin", bytes(50_000_000), {}))
    content = bytearray(archive.read_bytes())
    directory = content.index(b"PK\x01\x02")
    for place in (22, directory + 24):
        content[place : place + 4] = struct.pack("<I", 1000)
    archive.write_bytes(content)
    assert "CRC" in refusal(archive)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_any_kind_is_a_clean_error_or_an_archive(kind, working_directory):
    archive, draw = good(kind), random.Random(0)
    content = archive.read_bytes()
    for number in range(300):
        spoilt = bytearray(content)
        for _ in range(draw.choice([1, 2, 8])):
            spoilt[draw.randrange(len(spoilt))] = draw.choice([0, 255, draw.randrange(256)])
        archive.write_bytes(spoilt)
        try:
            unpack(archive, working_directory / f"inner/{number}")
        except UnavailableError:  # anything else would end the test
            assert not Path(f"inner/{number}").exists()
    outside = [each for each in working_directory.iterdir() if each.name not in ("inner", archive.name)]
    assert outside == []


@pytest.mark.parametrize("content", [b"", b"text", b"<html></html>", b"PK\x03\x04", b"\x1f\x8b\x08", bytes(512)])
def test_what_is_no_archive(content, refusal):
    Path("page.tgz").write_bytes(content)
    assert refusal(Path("page.tgz"))


def test_a_folder_that_is_there_already_is_left_alone():
    Path("data").mkdir()
    Path("data/mine.txt").write_text("mine")
    with pytest.raises(UnavailableError, match="cannot be unpacked to data"):
        unpack(good("w:gz"), Path("data"))
    assert [file.name for file in Path("data").iterdir()] == ["mine.txt"]


def test_an_archive_that_is_not_there(refusal):
    assert "No such file" in refusal(Path("gone.tgz"))
