"""An upstream whose streams break off in the middle of an event."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any, Self

_CHAT = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":"hey"},"finish_reason":null}]}\n\n'
)
_RESPONSE = (
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":'
    b'{"id":"r","object":"response","created_at":1,"model":"m","output":[],"tools":[],'
    b'"parallel_tool_calls":true,"tool_choice":"auto","status":"in_progress"}}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class CuttingUpstream:
    """Answers every call with one whole event and half of another."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def provider(self) -> dict[str, Any]:
        """A provider of config.json whose upstream this is."""
        return {
            "keys": [{"name": "main", "value": "sk-upstream-secret", "weight": 1}],
            "network_config": {
                "base_url": f"http://127.0.0.1:{self._listening.getsockname()[1]}",
                "max_retries": 0,
            },
            "custom_provider_config": {"base_provider_type": "openai"},
        }

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                asked = b""
                while b"\r\n\r\n" not in asked and (piece := connection.recv(65536)):
                    asked += piece
                event = _RESPONSE if b"/responses " in asked else _CHAT
                body = event + event[: len(event) // 2]
                connection.sendall(b"%b%x\r\n%b\r\n" % (_HEAD, len(body), body))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Who waits in accept is woken by a shutdown, not by a close.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
