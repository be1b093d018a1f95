"""Pictures by URL from real servers; and what a client must not reach through the worker.

Servers listen on 127.0.0.1, which the rules must allow by name. A resolver of the test's own stands in where
the DNS would have to answer something certain, or something else the second time.
"""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from easel_contract.errors import ContractError
from easel_contract.images import ImageRules
from easel_worker.intake import Intake
from easel_worker.intake.fetch import Fetcher

from .pictures import file_of, gradient

PICTURE = file_of(gradient())
PEM = Path(__file__).with_name("pictures.example.pem")
NAMES = {"pictures.example": ["127.0.0.1"], "other.example": ["127.0.0.1"], "public.example": ["8.8.8.8"]}


@dataclass
class Site:
    """What a server answers, by path, and what it was asked."""

    port: int = 0
    answers: dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str, host: str = "pictures.example", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def redirect(self, path: str, target: str, status: int = 302) -> None:
        self.answers[path] = lambda handler: send(handler, b"", status, Location=target)


def send(handler: http.server.BaseHTTPRequestHandler, data: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(data)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def serve(context: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.path, dict(self.headers)))
            answer = site.answers.get(self.path)
            if answer:
                answer(self)
            else:
                send(self, PICTURE, Content_Type="image/png")

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # clients hang up on purpose here

    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serve()


@pytest.fixture
def tls_site() -> Iterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    yield from serve(context)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def by_name(host: str, port: int, timeout_s: float) -> Sequence[str]:
    if host not in NAMES:
        raise socket.gaierror(f"no such name: {host}")
    return NAMES[host]


def fetcher(site: Site | None = None, **rules: Any) -> Fetcher:
    """Allows pictures.example to be local."""
    given: dict[str, Any] = {"local_hosts": ("pictures.example",), "timeout_s": 10.0, **rules}
    if site:
        given["ports"] = (80, 443, site.port)
    context = ssl.create_default_context(cafile=str(PEM))
    return Fetcher(ImageRules(**given), resolver=by_name, context=context)


def refused(fetcher: Fetcher, url: str) -> ContractError:
    with pytest.raises(ContractError) as caught:
        fetcher.fetch(url, field="init_images.0")
    assert (caught.value.field, caught.value.status) == ("init_images.0", 422)
    return caught.value


def test_a_picture_is_fetched_and_opened(site: Site) -> None:
    rules = ImageRules(local_hosts=(f"127.0.0.1:{site.port}",))
    picture = Intake(rules).open(f"http://127.0.0.1:{site.port}/a.png?x=1", field="image_link")
    assert picture.size == gradient().size
    path, headers = site.asked[0]
    assert path == "/a.png?x=1"
    assert headers["User-Agent"] == "Easel"
    assert headers["Host"] == f"127.0.0.1:{site.port}"
    assert headers["Accept-Encoding"] == "identity"


def test_local_is_refused_by_default_and_nothing_is_asked(site: Site) -> None:
    rules = ImageRules(ports=(site.port,))
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0.0.0.0"):  # noqa: S104
        error = refused(Fetcher(rules), f"http://{host}:{site.port}/a.png")
        assert error.message.startswith("Request to local resource not allowed"), host
    assert site.asked == []


def test_one_address_that_is_not_public_spoils_a_name(site: Site) -> None:
    rules = ImageRules(ports=(site.port,))
    mixed = Fetcher(rules, resolver=lambda *_: ["8.8.8.8", "127.0.0.1"])
    assert "local resource" in refused(mixed, site.url("/a.png")).message


def test_link_local_is_refused_even_for_local_hosts() -> None:
    metadata = Fetcher(ImageRules(local_hosts=("pictures.example",)), resolver=lambda *_: ["169.254.169.254"])
    assert "local resource" in refused(metadata, "http://pictures.example/latest/meta-data").message


def test_an_answer_of_the_dns_that_changes_is_harmless(site: Site) -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    asked: list[str] = []

    def rebinding(host: str, port: int, timeout_s: float) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    rules = ImageRules(local_hosts=("pictures.example",), ports=(site.port,))
    fetcher = Fetcher(rules, resolver=rebinding)
    assert fetcher.fetch(site.url("/a.png"), field="image") == PICTURE
    assert asked == ["pictures.example"]  # what was checked is what was connected to
    assert "local resource" in refused(fetcher, site.url("/a.png")).message


def test_the_next_address_is_tried_when_one_does_not_answer(site: Site) -> None:
    rules = ImageRules(local_hosts=("pictures.example",), ports=(site.port,))
    fetcher = Fetcher(rules, resolver=lambda *_: ["127.0.0.2", "127.0.0.1"])
    assert fetcher.fetch(site.url("/a.png"), field="image") == PICTURE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site: Site, status: int) -> None:
    site.redirect("/a", "b/c.png?x=1", status)
    assert fetcher(site).fetch(site.url("/a"), field="image") == PICTURE
    assert [path for path, _ in site.asked] == ["/a", "/b/c.png?x=1"]


def test_a_redirect_is_checked_as_the_first_address_was(site: Site) -> None:
    for target, told in (
        (site.url("/a.png", host="other.example"), "Request to local resource not allowed"),
        (f"//other.example:{site.port}/", "Request to local resource not allowed"),
        ("http://pictures.example:22/", "Requests not allowed: port 22"),
        ("http://user:pw@pictures.example/", "user names and passwords"),
        ("file:///etc/passwd", "use http:// or https://"),
        ("data:image/png;base64,iVBORw0KGgo=", "use http:// or https://"),
        ("gopher://pictures.example/", "use http:// or https://"),
        ("http://[::1", "cannot be read"),
    ):
        site.redirect("/a", target)
        assert told in refused(fetcher(site), site.url("/a")).message, target
    assert {path for path, _ in site.asked} == {"/a"}


def test_redirects_come_to_an_end(site: Site) -> None:
    site.redirect("/a", "/a")
    assert "more than 5 redirects" in refused(fetcher(site), site.url("/a")).message
    assert len(site.asked) == 6


def test_tls_is_verified_for_the_name_and_not_the_address(tls_site: Site) -> None:
    assert fetcher(tls_site).fetch(tls_site.url("/a.png", scheme="https"), field="image") == PICTURE
    assert tls_site.asked[0][1]["Host"] == f"pictures.example:{tls_site.port}"
    other = fetcher(tls_site, local_hosts=("other.example",))
    error = refused(other, tls_site.url("/a.png", host="other.example", scheme="https"))
    assert "its certificate is not valid" in error.message
    rules = ImageRules(local_hosts=("pictures.example",), ports=(tls_site.port,))
    stranger = Fetcher(rules, resolver=by_name)  # trusts the usual authorities, not this one
    assert "certificate" in refused(stranger, tls_site.url("/a.png", scheme="https")).message


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_not_read_to_its_end(site: Site, declared: bool) -> None:
    sent: list[int] = []

    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if declared:
            handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        while True:  # until the client hangs up
            sent.append(handler.wfile.write(bytes(65_536)))

    site.answers["/a"] = endless
    assert "EASEL_IMAGE_MAX_BYTES" in refused(fetcher(site, max_bytes=500_000), site.url("/a")).message
    assert sum(sent) < 50_000_000


def test_a_chunked_body(site: Site) -> None:
    def chunked(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(PICTURE), 40):
            part = PICTURE[start : start + 40]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")

    site.answers["/a"] = chunked
    assert fetcher(site).fetch(site.url("/a"), field="image") == PICTURE


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_all_of_it_takes_no_longer_than_its_time(silent: socket.socket, drip: bytes) -> None:
    """A byte now and then resets a socket's time-out, but not ours."""
    stop = threading.Event()

    def trickle() -> None:
        peer, _ = silent.accept()
        with peer:
            peer.sendall(drip)
            while not stop.wait(0.05):
                try:
                    if drip:
                        peer.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=trickle)
    thread.start()
    port = silent.getsockname()[1]
    rules = ImageRules(local_hosts=(f"127.0.0.1:{port}",), timeout_s=0.4)
    error = refused(Fetcher(rules), f"http://127.0.0.1:{port}/a.png")
    stop.set()
    thread.join()
    assert error.message == "Invalid image url: not fetched within 0.4 s (EASEL_IMAGE_URL_TIMEOUT_S)"


def test_a_tls_handshake_that_never_ends(silent: socket.socket) -> None:
    port = silent.getsockname()[1]
    rules = ImageRules(local_hosts=(f"127.0.0.1:{port}",), timeout_s=0.3)
    assert "within 0.3 s" in refused(Fetcher(rules), f"https://127.0.0.1:{port}/a.png").message


def test_answers_that_are_no_picture(site: Site) -> None:
    site.answers["/missing"] = lambda handler: send(handler, b"no", 404)
    site.answers["/packed"] = lambda handler: send(handler, b"x", Content_Encoding="gzip")
    site.answers["/short"] = lambda handler: send(handler, PICTURE, Content_Length=str(len(PICTURE) + 5))
    site.answers["/junk"] = lambda handler: handler.wfile.write(b"\0\1\2 no HTTP\r\n\r\n") and None
    site.answers["/text"] = lambda handler: send(handler, b"<html>hello</html>" * 9)
    for path, told in (
        ("/missing", "Invalid image url: the host answers 404"),
        ("/packed", "compressed"),
        ("/short", "only a part"),
        ("/junk", "does not answer"),
    ):
        assert told in refused(fetcher(site), site.url(path)).message, path
    rules = ImageRules(local_hosts=("pictures.example",), ports=(site.port,))
    with pytest.raises(ContractError, match="image: Invalid encoded image: not one of PNG"):
        Intake(rules, fetcher(site)).open(site.url("/text"), field="image")


def test_hosts_that_do_not_answer(silent: socket.socket) -> None:
    port = silent.getsockname()[1]
    silent.close()
    rules = ImageRules(local_hosts=(f"127.0.0.1:{port}",))
    assert "does not answer" in refused(Fetcher(rules), f"http://127.0.0.1:{port}/").message
    assert "does not answer" in refused(fetcher(), "http://unknown.example/").message


def test_proxies_of_the_environment_are_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetcher(site).fetch(site.url("/a.png"), field="image") == PICTURE
