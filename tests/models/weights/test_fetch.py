"""Addresses, names and SHA-256: a server on this machine stands for the world."""

from __future__ import annotations

import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from knoll.models.weights import load_weights
from knoll.registry import Weights


class Server(ThreadingHTTPServer):
    """Serves a folder, and counts what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        server = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments) -> None:
                super().__init__(*arguments, directory=str(folder))

            def log_message(self, *_arguments) -> None:
                server.asked.append(self.path)

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "served").mkdir()
    server = Server(tmp_path / "served")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def saved(tmp_path: Path, small, server):
    """A model whose weights the server has, as `small.pth` and under a name that tells their SHA-256."""
    model = small()
    torch.save(model.state_dict(), tmp_path / "served/small.pth")
    content = (tmp_path / "served/small.pth").read_bytes()
    model.sha256 = hashlib.sha256(content).hexdigest()
    (tmp_path / f"served/small-{model.sha256[:8]}.pth").write_bytes(content)
    return model


def test_an_address_is_downloaded_once_and_verified(tmp_path, server, saved, small, equal) -> None:
    settings = Weights(f"{server.address}/small.pth", sha256=saved.sha256)
    for _ in range(2):
        model = small()
        report = load_weights(model, settings).lines
        assert equal(model, saved)
    assert len(server.asked) == 1
    [place] = (tmp_path / "torch/hub/checkpoints").iterdir()
    kept = f"{server.address}/small.pth, kept as {place}"
    assert report[0] == f"weights: {kept} (SHA-256 {saved.sha256[:8]}..., as asked for)"


def test_files_of_the_same_name_from_two_places_are_two(tmp_path, server, saved, small, equal) -> None:
    (tmp_path / "served/other").mkdir()
    other = small()
    torch.save(other.state_dict(), tmp_path / "served/other/small.pth")
    digest = hashlib.sha256((tmp_path / "served/other/small.pth").read_bytes()).hexdigest()
    load_weights(small(), Weights(f"{server.address}/small.pth", sha256=saved.sha256))
    model = small()
    load_weights(model, Weights(f"{server.address}/other/small.pth", sha256=digest))
    assert equal(model, other)


def test_a_name_that_tells_the_hash_is_enough(server, saved, small, equal) -> None:
    model = small()
    report = load_weights(model, f"{server.address}/small-{saved.sha256[:8]}.pth").lines
    assert equal(model, saved)
    assert report[0].endswith(f"(SHA-256 {saved.sha256[:8]}..., as its name says)")


@pytest.mark.row(36)
def test_a_download_with_another_hash_is_refused_and_not_kept(tmp_path, server, saved, small, refusal) -> None:
    (tmp_path / f"served/small-{saved.sha256[:8]}.pth").write_bytes(b"<html>Please sign in")
    address = f"{server.address}/small-{saved.sha256[:8]}.pth"
    told = refusal(small(), address)
    assert told.startswith(
        f"weights: {address} cannot be downloaded (what came is a page of HTML, not the file). Put the file there by"
    )
    assert list((tmp_path / "torch/hub/checkpoints").iterdir()) == []


def test_a_kept_file_that_was_damaged_since_is_refused(tmp_path, server, saved, small, refusal) -> None:
    address = f"{server.address}/small-{saved.sha256[:8]}.pth"
    load_weights(small(), address)
    place = tmp_path / f"torch/hub/checkpoints/small-{saved.sha256[:8]}.pth"
    place.write_bytes(place.read_bytes()[:-1] + b"!")
    found = hashlib.sha256(place.read_bytes()).hexdigest()
    assert refusal(small(), address) == (
        f"{place} has the SHA-256 {found}, its name says {saved.sha256[:8]}: it is damaged, or another file. Delete it "
        "and fetch it again."
    )


def test_an_address_that_cannot_be_reached_says_where_to_put_the_file(tmp_path, server, small, refusal) -> None:
    address = f"{server.address}/resnet34-333f7ec4.pth"
    place = tmp_path / "torch/hub/checkpoints/resnet34-333f7ec4.pth"
    told = refusal(small(), address)
    assert told == (
        f"weights: {address} cannot be downloaded (HTTP Error 404: File not found). Put the file there by other means: "
        f"{place}\nor name another: weights=<file>"
    )


def test_an_address_without_encryption_needs_a_hash(server, saved, small, refusal) -> None:
    told = refusal(small(), f"{server.address}/small.pth")
    assert told.endswith("is not encrypted: give weights.sha256, or an https address")
    assert server.asked == []


@pytest.mark.row(36)
def test_a_wrong_hash_for_a_file(tmp_path, saved, small, refusal) -> None:
    path = str(tmp_path / "served/small.pth")
    told = refusal(small(), Weights(path, sha256="0" * 64))
    assert told.startswith(f"{path} has the SHA-256 {saved.sha256}, weights.sha256 says {'0' * 64}: it is damaged, or")
    load_weights(small(), Weights(path, sha256=saved.sha256[:10].upper()))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mine-0badc0de.pth", "SHA-256 {0:.8}..., though its name says 0badc0de: damaged, or another file?"),
        ("mine-20261121.pth", "SHA-256 {0}, not verified: weights.sha256 would"),  # a date
        ("mine.pth", "SHA-256 {0}, not verified: weights.sha256 would"),
    ],
)
def test_the_name_of_a_file_here_is_only_a_hint(tmp_path, saved, small, name: str, told: str) -> None:
    path = tmp_path / name
    path.write_bytes((tmp_path / "served/small.pth").read_bytes())
    assert load_weights(small(), path).lines[0] == f"weights: {path} ({told.format(saved.sha256)})"


def test_names_of_torchvision(small, refusal, monkeypatch, tmp_path) -> None:
    told = refusal(small(), "torchvision/ResNet34_Weights.IMAGENET1K_V2")
    assert told.startswith("weights: torchvision has no weights called `ResNet34_Weights.IMAGENET1K_V2`. Did you mean")
    assert "`ResNet34_Weights.IMAGENET1K_V1`" in told
    # The real name leads to the real address: with a file in its place there nothing is downloaded, and it is verified.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    place = tmp_path / "torch/hub/checkpoints/resnet34-b627a593.pth"
    place.parent.mkdir(parents=True)
    torch.save(small().state_dict(), place)
    told = refusal(small(), "torchvision/ResNet34_Weights.IMAGENET1K_V1")
    assert told.startswith(f"{place} has the SHA-256 ")
    assert ", its name says b627a593: it is damaged, or another file." in told


def test_names_of_timm(small, equal, refusal, monkeypatch, tmp_path) -> None:
    told = refusal(small(), "timm/resnet34.a1_in2k")
    assert told.startswith("weights: timm has no weights called `resnet34.a1_in2k`. Did you mean `resnet34.a1_in1k`")

    saved = small()
    torch.save(saved.state_dict(), tmp_path / "from_hub.bin")
    asked = []

    def download(repository: str, file: str) -> str:
        from huggingface_hub.errors import RemoteEntryNotFoundError

        asked.append((repository, file))
        if file != "pytorch_model.bin":
            raise RemoteEntryNotFoundError.__new__(RemoteEntryNotFoundError)
        return str(tmp_path / "from_hub.bin")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    model = small()
    load_weights(model, "timm/resnet34.a1_in1k")
    assert equal(model, saved)
    assert asked == [("timm/resnet34.a1_in1k", "model.safetensors"), ("timm/resnet34.a1_in1k", "pytorch_model.bin")]


def test_the_hub_cannot_be_reached(small, refusal, monkeypatch) -> None:
    def download(*_arguments: str) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert refusal(small(), "timm/resnet34.a1_in1k") == (
        "weights: timm/resnet34.a1_in1k cannot be fetched from the hub (no route to host). Without a connection, get "
        "https://huggingface.co/timm/resnet34.a1_in1k/resolve/main/model.safetensors elsewhere, and name the file: "
        "weights=<file>"
    )
