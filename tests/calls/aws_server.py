"""STS and the metadata servers of AWS, on a port of the test's own."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs


class Asked(NamedTuple):
    """One request that arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: str

    @property
    def form(self) -> dict[str, str]:
        """The fields of an STS call."""
        return {name: values[0] for name, values in parse_qs(self.body).items()}


class Says(NamedTuple):
    """What is answered."""

    body: str
    status: int = 200


class AwsServer:
    """Answers by path; `answers` is the test's to change. Remembers what it was asked."""

    def __init__(self, answers: Mapping[str, Says]) -> None:
        self.answers = dict(answers)
        self.asked: list[Asked] = []
        self.held = asyncio.Event()
        """Replies wait for it."""
        self.held.set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Its root."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = head.strip().split("\r\n")
                method, path, _ = line.split(" ")
                pairs = [each.partition(": ")[::2] for each in rest]
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.asked.append(Asked(method, path, headers, body.decode()))
                await self.held.wait()
                says = self.answers.get(path, Says("not found", 404))
                whole = says.body.encode()
                start = f"HTTP/1.1 {says.status} X\r\nContent-Length: {len(whole)}\r\n\r\n"
                writer.write(start.encode() + whole)
                await writer.drain()
        writer.close()


def told(access_key: str, expires: str = "2026-09-21T20:00:00Z", **more: Any) -> Says:
    """What a metadata server says."""
    return Says(
        json.dumps(
            {
                "Code": "Success",
                "AccessKeyId": access_key,
                "SecretAccessKey": f"secret of {access_key}",
                "Token": f"token of {access_key}",
                "Expiration": expires,
                **more,
            }
        )
    )


def sts(access_key: str, expires: str = "2026-09-21T20:00:00Z", action: str = "AssumeRole") -> Says:
    """What STS says."""
    return Says(
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
        f"<AssumedRoleUser><Arn>arn:x</Arn></AssumedRoleUser><Credentials>"
        f"<AccessKeyId>{access_key}</AccessKeyId>"
        f"<SecretAccessKey>a&amp;b</SecretAccessKey>"
        f"<SessionToken>token of {access_key}</SessionToken>"
        f"<Expiration>{expires}</Expiration></Credentials></{action}Result></{action}Response>"
    )


REFUSED = Says(
    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
    "<Message>User x may not do that.</Message></Error></ErrorResponse>",
    403,
)
