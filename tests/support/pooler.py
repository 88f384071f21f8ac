"""A connection pooler between its clients and one server, as PgBouncer is one.

In transaction mode a client has a server's session from the first message of a transaction to its
end, and then whoever comes next has it, with everything that was set on it. In session mode it
keeps the session until it leaves. Runs in the test's loop. Clients need no password.

Kept small: it knows what asyncpg sends. There is no COPY and no TLS, and a request to cancel is not
passed on.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import secrets
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

_PROTOCOL: Final = 196_608
_SSL_REQUEST: Final = 80_877_103
_WANTS_AN_ANSWER: Final = b"QSH"
"""A simple query, Sync, Flush: the client sends no more before it has its answer."""
_ANSWERS: Final = b"123TnCsI"
"""Each is the last of what the server says to one message."""
_NAMES_A_STATEMENT: Final = b"PBDC"


class ServerRefuses(Exception):
    """The server does not let the pooler in."""


class Pooler:
    """Listens on a free port of 127.0.0.1, for the database of one server."""

    def __init__(
        self,
        url: str,
        *,
        size: int = 4,
        prepared: bool = True,
        session_mode: bool = False,
        round_robin: bool = False,
    ) -> None:
        """`url` is the server's, with user and password; `size` the most sessions on it.

        `prepared`: the statements of a client are carried over to whatever session it gets, as by
        PgBouncer from 1.21; without, they lie where they were made, under the client's name.
        """
        self._url = urlsplit(url)
        self._prepared = prepared
        self._session_mode = session_mode
        self._round_robin = round_robin
        self._room = asyncio.Semaphore(size)
        self._idle: list[_Session] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._names = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._greeting = b""

    @property
    def url(self) -> str:
        """For clients."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{self._url.username}@127.0.0.1:{port}{self._url.path}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for session in self._idle:
            session.writer.close()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator["_Session"]:
        """A session of the server, which goes back to the others if it is in no transaction."""
        async with self._room:
            session = None
            while self._idle and session is None:
                session = self._idle.pop(0 if self._round_robin else -1)
                if not await session.is_silent():
                    session.writer.close()
                    session = None
            if session is None:
                session = await _Session.log_in(self._url)
                self._greeting = session.greeting
            try:
                yield session
            finally:
                if session.is_free:
                    self._idle.append(session)
                else:
                    session.writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, EOFError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the pooler goes
        except ServerRefuses as error:
            with suppress(OSError):
                writer.write(
                    _message(b"E", b"SFATAL\0VFATAL\0C08P01\0M%b\0\0" % str(error).encode())
                )
                await writer.drain()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (code := await _startup(reader)) == _SSL_REQUEST:
            writer.write(b"N")
        if code != _PROTOCOL:
            return
        if not self._greeting:
            async with self._session():
                pass
        key = struct.pack("!iI", secrets.randbits(31), secrets.randbits(32))
        writer.write(_message(b"R", bytes(4)) + self._greeting + _message(b"K", key))
        writer.write(_message(b"Z", b"I"))
        client = _Client(self._names if self._prepared else None)
        while (batch := await _batch(reader)) is not None:
            async with self._session() as session:
                if self._session_mode:
                    await session.belong_to(batch, reader, writer)
                    return
                while batch is not None:
                    await session.exchange(client, batch, writer)
                    if session.status == b"I":
                        break
                    batch = await _batch(reader)
                else:
                    return  # it left without an end to its transaction


class _Client:
    """The statements of one client: the name on the server's side, and the text."""

    def __init__(self, names: "itertools.count[int] | None") -> None:
        self._names = names
        self._statements: dict[bytes, tuple[bytes, bytes]] = {}

    def translated(
        self, batch: list[tuple[bytes, bytes]], known: set[bytes]
    ) -> tuple[bytes, list[bytes | None]]:
        """What to send where these statements are `known`, and for each Parse in it its name,
        if the client is not to hear of it."""
        sent: list[bytes] = []
        hidden: list[bytes | None] = []
        for kind, body in batch:
            if self._names is None or kind not in _NAMES_A_STATEMENT:
                sent.append(_message(kind, body))
                hidden += [None] * (kind == b"P")
                continue
            before, name, rest = _named(kind, body)
            if name is None:
                sent.append(_message(kind, body))
                hidden += [None] * (kind == b"P")
            elif kind == b"P":
                # Never a name that this session has: every Parse gets a new one.
                ours = b"POOLER_%d" % next(self._names)
                self._statements[name] = (ours, rest)
                sent.append(_message(b"P", ours + b"\0" + rest))
                hidden.append(None)
                known.add(ours)
            else:
                ours, text = self._statements.get(name, (name, b""))
                if text and ours not in known and kind != b"C":
                    sent.append(_message(b"P", ours + b"\0" + text))
                    hidden.append(ours)
                    known.add(ours)
                sent.append(_message(kind, before + ours + b"\0" + rest))
        return b"".join(sent), hidden


class _Session:
    """One session of the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.greeting = b""
        """What the server told of itself at the login."""
        self.status = b""
        """Of its transaction: I for none; empty while an answer is out."""
        self._known: set[bytes] = set()

    @property
    def is_free(self) -> bool:
        """Whether somebody else may have it."""
        return self.status == b"I" and not self._reader.at_eof()

    async def is_silent(self) -> bool:
        """Whether the server has said nothing unasked, such as goodbye."""
        try:
            async with asyncio.timeout(0):
                await self._reader.read(1)
        except (OSError, TimeoutError) as error:
            return isinstance(error, TimeoutError)
        return False

    @classmethod
    async def log_in(cls, url: SplitResult) -> Self:
        """Raises ServerRefuses."""
        try:
            session = cls(*await asyncio.open_connection(url.hostname, url.port))
        except OSError as error:
            raise ServerRefuses(f"server login failed: {error}") from error
        try:
            await session._begin(url)
        except BaseException as error:
            session.writer.close()
            if isinstance(error, (OSError, EOFError)):
                raise ServerRefuses(f"server login failed: {error}") from error
            raise
        return session

    async def _begin(self, url: SplitResult) -> None:
        user, password = unquote(url.username or ""), unquote(url.password or "")
        about = ("user", user, "database", url.path[1:], "client_encoding", "utf-8", "")
        start = struct.pack("!i", _PROTOCOL) + "\0".join(about).encode() + b"\0"
        self.writer.write(struct.pack("!i", len(start) + 4) + start)
        await self._prove(password.encode())
        kind = b""
        while kind != b"Z":
            kind, body = await self._receive()
            if kind == b"S":
                self.greeting += _message(kind, body)
            self.status = body

    async def _receive(self) -> tuple[bytes, bytes]:
        kind, body = await _read(self._reader)
        if kind == b"E":
            raise ServerRefuses(body.decode("utf-8", "replace").split("\0M", 1)[-1])
        return kind, body

    async def _prove(self, password: bytes) -> None:
        """That we know the password (SCRAM-SHA-256, RFC 5802)."""
        nonce = base64.b64encode(secrets.token_bytes(18))
        first = b"n=,r=" + nonce
        hello = b"n,," + first
        await self._receive()
        self.writer.write(
            _message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(hello)) + hello)
        )
        challenge = (await self._receive())[1][4:]
        their_nonce, salt, rounds = (part[2:] for part in challenge.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(salt), int(rounds))
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = b"c=biws,r=" + their_nonce
        signed = hmac.digest(
            hashlib.sha256(key).digest(), b",".join((first, challenge, final)), "sha256"
        )
        proof = bytes(mine ^ theirs for mine, theirs in zip(key, signed, strict=True))
        self.writer.write(_message(b"p", final + b",p=" + base64.b64encode(proof)))
        while (await self._receive())[1] != bytes(4):  # AuthenticationOk
            pass

    async def exchange(
        self, client: _Client, batch: list[tuple[bytes, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        """Send a client's batch, and everything the server says up to the end of its answer."""
        sent, hidden = client.translated(batch, self._known)
        self.status = b""
        self.writer.write(sent)
        flushed = batch[-1][0] == b"H"
        awaited = len(batch) - 1 + sum(name is not None for name in hidden)
        kind, body = b"", b""
        while kind != b"Z" and (awaited or not flushed):
            kind, body = await _read(self._reader)
            if flushed and kind in _ANSWERS:
                awaited -= 1
            if kind == b"1" and hidden.pop(0) is not None:
                continue
            if kind == b"E":  # the rest of the batch was not carried out
                self._known.difference_update(name for name in hidden if name)
                awaited = 0
            writer.write(_message(kind, body))
        await writer.drain()
        if kind == b"Z":
            self.status = body

    async def belong_to(
        self,
        batch: list[tuple[bytes, bytes]] | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Carry what a client and the server say, until the client goes; then forget it all."""
        self.status = b""
        back = asyncio.create_task(self._carry_back(writer))
        try:
            while batch is not None:
                self.writer.write(b"".join(_message(kind, body) for kind, body in batch))
                batch = await _batch(reader)
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
        self.writer.write(_message(b"Q", b"ROLLBACK\0") + _message(b"Q", b"DISCARD ALL\0"))
        for _ in range(2):
            self.status = await self._ready()

    async def _ready(self) -> bytes:
        """Read on until the server is ready for the next thing; its status."""
        while (answer := await _read(self._reader))[0] != b"Z":
            pass
        return answer[1]

    async def _carry_back(self, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            while True:
                writer.write(_message(*await _read(self._reader)))
        writer.close()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(int.from_bytes(head[1:]) - 4)


async def _startup(reader: asyncio.StreamReader) -> int:
    """The code of a message without a kind."""
    size = int.from_bytes(await reader.readexactly(4))
    return int.from_bytes((await reader.readexactly(size - 4))[:4])


async def _batch(reader: asyncio.StreamReader) -> list[tuple[bytes, bytes]] | None:
    """A client's messages up to one that asks for an answer; None when it leaves."""
    batch: list[tuple[bytes, bytes]] = []
    while not batch or batch[-1][0] not in _WANTS_AN_ANSWER:
        try:
            batch.append(await _read(reader))
        except (OSError, EOFError):
            return None
        if batch[-1][0] == b"X":
            return None
    return batch


def _named(kind: bytes, body: bytes) -> tuple[bytes, bytes | None, bytes]:
    """A message split around the name of its statement; None where it has none."""
    before = 0
    if kind == b"B":
        before = body.index(b"\0") + 1  # the portal's name
    elif kind in b"DC":
        if body[:1] != b"S":
            return b"", None, b""
        before = 1
    name, rest = body[before:].split(b"\0", 1)
    return body[:before], name or None, rest
