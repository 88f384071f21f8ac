"""The ceiling: our HTTP server, an application that does nothing, always the same answer.

`python -m bench.constant_app --port P --status 202 --reply FILE`. It reads the whole body first, as
the gateway must; what the gateway loses against it is the price of its work, not of HTTP.
"""

import argparse
import asyncio
import signal
from pathlib import Path

import uvloop

from hermod.clock import SystemClock
from hermod.http.asgi import App, Receive, Scope, Send
from hermod.http.server import HttpServer


def constant(status: int, reply: bytes) -> App:
    """An application that answers every request alike."""
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(reply)).encode()),
        ],
    }
    body = {"type": "http.response.body", "body": reply}

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(start)
        await send(body)

    return app


async def serve(port: int, app: App) -> None:
    """Serve until SIGTERM."""
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    server = HttpServer(app, host="127.0.0.1", port=port, clock=SystemClock())
    await server.start()
    await told_to_stop.wait()
    await server.stop()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--status", type=int, required=True)
    parser.add_argument("--reply", type=Path, required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.port, constant(options.status, options.reply.read_bytes())))


if __name__ == "__main__":
    main()
