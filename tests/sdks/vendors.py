"""An upstream that answers in a vendor's own words, whichever it is told to."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

EVENTS = "text/event-stream"


class Call(NamedTuple):
    """A request that arrived."""

    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: Any


class Vendor:
    """Gives everybody the answer that is set, and remembers who asked for what."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._status, self._type, self._body = 200, "application/json", b"{}"
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["content-length"])
                headers = {name.lower(): value for name, value in self.headers.items()}
                vendor.calls.append(Call(self.path, headers, json.loads(self.rfile.read(size))))
                self.send_response(vendor._status)
                self.send_header("content-type", vendor._type)
                self.send_header("content-length", str(len(vendor._body)))
                self.end_headers()
                self.wfile.write(vendor._body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def provider(self, **more: Any) -> dict[str, Any]:
        """A provider of config.json whose upstream this is."""
        return {
            "keys": [{"name": "main", "value": "sk-vendors-secret", "weight": 1}],
            "network_config": {"base_url": self.url, "max_retries": 0},
            **more,
        }

    def says(self, answer: Any, status: int = 200) -> None:
        """What is answered from now on; what was asked so far is forgotten."""
        self.calls.clear()
        self._status, self._type = status, "application/json"
        self._body = json.dumps(answer).encode()

    def streams(self, events: bytes) -> None:
        """The same, for a stream."""
        self.calls.clear()
        self._status, self._type, self._body = 200, EVENTS, events

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
