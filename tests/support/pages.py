"""A server in the test's own process that answers by path, in the clear or with TLS."""

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

HELD_S = 60.0
"""How long a held page waits for a test that has forgotten it."""


class Page(NamedTuple):
    """What a path answers."""

    body: Any = None
    """Sent as JSON, unless it is a text."""
    status: int = 200
    headers: Mapping[str, str] = {}
    held: threading.Event | None = None
    """Answer only once this is set."""
    opens: threading.Event | None = None
    """Set as soon as it is asked for."""


class Asked(NamedTuple):
    """One request that arrived."""

    path: str
    """With its query."""
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


class Pages:
    """Serves on a port of its own until the `with` block ends; what is not there is 404.

    A path with a query is looked for as it is, then without its query; one with a key behind a
    space (`/v1/models sk-1`) is for requests whose Authorization ends with it.
    """

    def __init__(self, pages: Mapping[str, Page], certificate: Path | None = None) -> None:
        self.pages = dict(pages)
        self.asked: list[Asked] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Its root; a certificate is for localhost."""
        return f"{self._scheme}://localhost:{self.port}"

    def find(self, asked: Asked) -> Page:
        """Note a request and say what it gets."""
        self.asked.append(asked)
        key = asked.headers.get("authorization", "").rpartition(" ")[2]
        path = asked.path.partition("?")[0]
        for name in (f"{path} {key}", asked.path, path):
            if name in self.pages:
                return self.pages[name]
        return Page({"error": {"message": "there is nothing here"}}, 404)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for page in self.pages.values():
            if page.held is not None:
                page.held.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def make_certificate(folder: Path) -> Path:
    """A key and a self-signed certificate for localhost, as files of this folder."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program, which makes the certificate, is not installed")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    name = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    command = f"openssl req -x509 {key} -nodes -days 2 {name} -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that distrusts us, or has gone: nobody's failure here."""


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            page = pages.find(Asked(self.path, headers, body))
            if page.opens is not None:
                page.opens.set()
            if page.held is not None:
                page.held.wait(HELD_S)
            is_text = isinstance(page.body, str)
            answer = (page.body if is_text else json.dumps(page.body)).encode()
            self.send_response_only(page.status)
            kind = "text/html" if is_text else "application/json"
            given = {"Date": self.date_time_string(), "Content-Type": kind, **page.headers}
            for name, value in {**given, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    return Handler
