"""An upstream in the test's own process: it answers as it is told and remembers what it got."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self, cast

ANSWERS: dict[str, bytes] = {
    "/v1/chat/completions": b'{"id":"c","object":"chat.completion","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"ok"}}]}',
    "/v1/completions": b'{"id":"t","object":"text_completion","choices":[{"index":0,"text":"ok"}]}',
    "/v1/responses": b'{"id":"r","object":"response","output":[{"type":"message"}]}',
    "/v1/embeddings": b'{"object":"list","data":[{"index":0,"embedding":[0.5]}]}',
}


HELD_S = 120.0
"""How long a held reply waits for a test that has forgotten it."""


class Call(NamedTuple):
    """One request that arrived."""

    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    at_s: float


@dataclass(frozen=True)
class Reply:
    """What to answer."""

    status: int = 200
    body: bytes | None = None
    """None for a good answer of the path's kind."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    held: threading.Event | None = None
    """Answer only once this is set."""


class Upstream:
    """Serves on a port of its own until the `with` block ends.

    `plan` says what each model answers to its first, second, … call; the last reply stands for
    all that follow. A model without a plan gets good answers.
    """

    def __init__(self) -> None:
        self._plans: dict[str, list[Reply]] = {}
        self._calls: dict[str, list[Call]] = defaultdict(list)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def plan(self, model: str, *replies: Reply) -> None:
        """Answer calls for this model with these, in order."""
        self._plans[model] = list(replies)

    def calls(self, model: str) -> list[Call]:
        """The calls for this model, in their order."""
        with self._lock:
            return list(self._calls[model])

    def the_call(self, model: str) -> Call:
        """The only call for this model."""
        (call,) = self.calls(model)
        return call

    def answer(self, call: Call) -> Reply:
        """Note a call and say what it gets."""
        model: str = json.loads(call.body)["model"]
        with self._lock:
            before = self._calls[model]
            before.append(call)
            plan = self._plans.get(model, [Reply()])
            return plan[min(len(before), len(plan)) - 1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A gateway that was killed leaves its connections; that is nobody's failure here."""


def _handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = upstream.answer(Call(self.path, headers, body, time.monotonic()))
            if reply.held is not None:
                reply.held.wait(HELD_S)
            answer = ANSWERS[self.path] if reply.body is None else reply.body
            self.send_response(reply.status)
            self.send_header("content-type", reply.content_type)
            self.send_header("content-length", str(len(answer)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    return Handler


def exactly(text: bytes | str) -> Any:
    """JSON with nothing lost: numbers as they are written, members in their order, repeated ones
    included."""
    return json.loads(
        text,
        object_pairs_hook=lambda pairs: cast("list[tuple[str, Any]]", pairs),
        parse_int=lambda digits: f"number {digits}",
        parse_float=lambda digits: f"number {digits}",
        parse_constant=lambda name: f"constant {name}",
    )
