"""Downloads from a server on this machine that drops the connection, sends something else, or does not answer."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from knoll.registry import UnavailableError, UserError, download

pytestmark = pytest.mark.row(36)

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HTML = b"\n<!DOCTYPE html>\n<html><body>Please sign in</body></html>"


class Server(ThreadingHTTPServer):
    """Sends `content`, the first `cut` bytes of it in the next answers, as many as there are."""

    def __init__(self) -> None:
        self.content, self.cut, self.chunked, self.asked = CONTENT, [], False, 0
        self.silence = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.asked += 1
                if self.path == "/silent":
                    server.silence.wait(20)
                sent = server.content[: server.cut.pop(0)] if server.cut else server.content
                self.send_response(200)
                if server.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    end = b"\r\n0\r\n\r\n" if sent == server.content else b""
                    self.wfile.write(b"%x\r\n%b%b" % (len(server.content), sent, end))
                else:
                    self.send_header("Content-Length", str(len(server.content)))
                    self.end_headers()
                    self.wfile.write(sent)
                self.close_connection = True

            def log_message(self, *_arguments) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, name: str = "file.bin") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.silence.set()
    server.shutdown()
    server.server_close()
    thread.join()


def refusal(url: str, path: Path, sha256: str | None = None) -> str:
    with pytest.raises(UnavailableError) as error:
        download.download(url, path, sha256)
    assert str(error.value).startswith(f"{url} cannot be downloaded (")
    return str(error.value)


@pytest.mark.parametrize("sha256", [None, SHA256, SHA256[:8].upper()])
@pytest.mark.parametrize("chunked", [False, True])
def test_after_broken_connections_the_next_try_ends_with_the_right_file(server, sha256, chunked, figure):
    server.chunked, server.cut = chunked, [0, 1, 100_000, len(CONTENT) - 1]
    path = Path("kept/file.bin")
    broken = 0
    for _ in range(4):
        refusal(server.url(), path, sha256)
        assert list(Path("kept").iterdir()) == []
        broken += 1
    download.download(server.url(), path, sha256)
    assert path.read_bytes() == CONTENT
    assert list(Path("kept").iterdir()) == [path]
    figure(f"after {broken} broken connections, of which nothing was left, the right {len(path.read_bytes()):,} bytes")


def test_it_says_how_much_came(server):
    server.cut = [5000]
    assert "the connection broke after 5000 of 1024000 bytes" in refusal(server.url(), Path("file.bin"))


@pytest.mark.parametrize(
    ("content", "sha256", "reason"),
    [
        (HTML, None, "what came is a page of HTML, not the file"),
        (HTML, SHA256, "what came is a page of HTML, not the file"),
        (b"other", SHA256, f"what came has the SHA-256 {hashlib.sha256(b'other').hexdigest()}, not {SHA256}"),
    ],
)
def test_what_is_something_else_is_refused_and_the_old_file_stays(server, content, sha256, reason):
    server.content = content
    Path("file.bin").write_bytes(b"old")
    assert reason in refusal(server.url(), Path("file.bin"), sha256)
    assert Path("file.bin").read_bytes() == b"old"
    assert list(Path().iterdir()) == [Path("file.bin")]


def test_a_server_that_does_not_answer_is_given_up(server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    assert "timed out" in refusal(server.url("silent"), Path("file.bin"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/file", "https://", "nothing", "http://a b/c", "http://[::1/x"])
def test_an_address_that_leads_nowhere(url):
    with pytest.raises(UserError):
        download.download(url, Path("file.bin"))
    assert list(Path().iterdir()) == []


def test_a_place_that_cannot_be_written(server):
    Path("file").write_bytes(b"")
    refusal(server.url(), Path("file/inside.bin"))


def test_an_encrypted_address_that_leads_to_one_that_is_not(server, monkeypatch):
    # Of the redirection only its outcome: https would need a certificate.
    opened = download.urlopen(server.url())
    monkeypatch.setattr(download, "urlopen", lambda request, timeout: opened)
    assert f"leads on to {server.url()}, which is not encrypted" in refusal(
        "https://example.org/file", Path("file.bin")
    )
    assert list(Path().iterdir()) == []
