"""Everything that is looked at."""

import errno
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from hermod import __version__
from hermod.calls.credentials import Credentials
from hermod.calls.credentials_aws import AwsSigner
from hermod.calls.credentials_azure import AzureTokens
from hermod.calls.credentials_google import GoogleTokens
from hermod.config import Loaded, Settings
from hermod.doctor import machine
from hermod.doctor.finding import Finding, Grade, Group
from hermod.doctor.keys import REPLY_BYTES, Trials, of_clock
from hermod.domain.clock import Clock
from hermod.domain.errors import StoreError, StoreMisconfigured
from hermod.domain.governance import VirtualKey
from hermod.domain.provider import ProviderSettings
from hermod.net.client import HttpClient
from hermod.net.messages import Limits, NetError, Request
from hermod.store.checkup import Seen, look_at

_HEALTH_S: Final = 2.0


class Checkup:
    """One look at a gateway that could be started with these settings."""

    def __init__(
        self, loaded: Loaded, clock: Clock, environ: Mapping[str, str], *, timeout_s: float
    ) -> None:
        """`timeout_s` is for each key."""
        self._timeout_s = timeout_s
        self._loaded = loaded
        self._settings = loaded.settings
        self._clock = clock
        self._environ = environ

    async def all(self) -> AsyncIterator[Finding]:
        """Everything, the slowest last."""
        settings = self._settings
        yield machine.of_interpreter(__version__)
        yield machine.of_files(settings.hermod.worker_slots)
        for finding in machine.of_app_dir(settings.app_dir):
            yield finding
        database = settings.database_path
        if database is not None and (finding := machine.of_network_disk(database)):
            yield finding
        yield await self._store()
        async for finding in self._rest(tuple(settings.providers.values())):
            yield finding

    async def of_provider(self, name: str) -> AsyncIterator[Finding]:
        """The keys of one provider alone. Raises KeyError when it is not configured."""
        client = self._client()
        try:
            async for finding in self._keys(client, (self._settings.providers[name],)):
                yield finding
        finally:
            await client.close()

    async def _rest(self, providers: tuple[ProviderSettings, ...]) -> AsyncIterator[Finding]:
        for finding in configured(self._loaded):
            yield finding
        is_https = any(each.base_url.startswith("https:") for each in providers)
        if finding := machine.of_certificates(is_https):
            yield finding
        client = self._client()
        try:
            yield await self._port(client)
            async for finding in self._keys(client, providers):
                yield finding
        finally:
            await client.close()

    async def _keys(
        self, client: HttpClient, providers: tuple[ProviderSettings, ...]
    ) -> AsyncIterator[Finding]:
        credentials = Credentials(
            AwsSigner(client, self._clock, self._environ),
            GoogleTokens(client, self._clock, self._environ),
            AzureTokens(client, self._clock, self._environ),
        )
        ahead: list[float] = []
        trials = Trials(client, credentials, self._clock, self._environ, self._timeout_s)
        async for trial in trials.of(providers):
            if trial.ahead_s is not None:
                ahead.append(trial.ahead_s)
            yield trial.finding
        if finding := of_clock(ahead):
            yield finding

    def _client(self) -> HttpClient:
        limits = Limits(connect_s=self._timeout_s, reply_bytes=REPLY_BYTES)
        return HttpClient(limits, user_agent=f"hermod/{__version__}")

    async def _store(self) -> Finding:
        settings = self._settings
        try:
            seen = await look_at(settings.database_url.reveal(), settings.database_path)
        except StoreMisconfigured as error:
            return _of_store(Grade.ERROR, error.whole)
        except StoreError as error:
            remedy = "start it, or correct --database" if settings.database_path is None else ""
            return _of_store(Grade.ERROR, error.whole, remedy)
        return _of_store(*_state(seen, settings.database_path))

    async def _port(self, client: HttpClient) -> Finding:
        settings = self._settings
        host, port = settings.host, settings.port
        if port == 0:
            return _of_port(Grade.OK, "0: a free one will be taken")
        problem = bind_problem(host, port)
        if problem is None:
            return _of_port(Grade.OK, f"{port} is free")
        if problem.errno != errno.EADDRINUSE:
            text = f"{host}:{port} cannot be listened on: {problem.strerror or problem}"
            return _of_port(Grade.ERROR, text, "choose another with --host and --port")
        if await self._is_hermod(client, host, port):
            return _of_port(Grade.OK, f"a gateway is running at {port}")
        remedy = "end what listens there, or choose another with --port"
        return _of_port(Grade.ERROR, f"{port} is taken by another program", remedy)

    async def _is_hermod(self, client: HttpClient, host: str, port: int) -> bool:
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked, not bound
        shown = f"[{here}]" if ":" in here else here
        request = Request("GET", f"http://{shown}:{port}/health/liveness")
        try:
            reply = await client.send(request, timeout_s=_HEALTH_S)
        except NetError:
            return False
        return reply.status == 200 and b'"status"' in reply.body


def configured(loaded: Loaded) -> list[Finding]:
    """What the configuration says that a person should know."""
    settings = loaded.settings
    found = [_of_configuration(Grade.WARNING, "config", text) for text in loaded.warnings]
    found += [
        _of_configuration(Grade.WARNING, "config", f"{each.place} is ignored: {each.reason}")
        for each in loaded.ignored
    ]
    if not found:
        name = str(settings.config_file) if settings.config_file else "no file, all defaults"
        found.append(_of_configuration(Grade.OK, "config", name))
    found.append(_callers(settings))
    if not settings.loopback:
        found.append(_exposure(settings))
    if not settings.providers:
        found.append(
            Finding(
                Group.PROVIDERS,
                Grade.WARNING,
                "none",
                "no provider is configured: only mock/… models answer"
                if settings.hermod.mock
                else "no provider is configured: no job can be answered",
                "set a variable such as OPENAI_API_KEY, or see `hermod providers NAME`",
            )
        )
    return found


def _callers(settings: Settings) -> Finding:
    """Who may call, as the file and the environment say."""
    keys = [each for each in settings.governance if isinstance(each, VirtualKey)]
    issuers, auth = settings.auth.jwt_issuers, settings.auth
    said = [f"{len(keys)} virtual key{'s' * (len(keys) != 1)} in the file"]
    said += [f"tokens of {len(issuers)} issuer{'s' * (len(issuers) != 1)}"] if issuers else []
    said += ["an admin's token"] if settings.admin_token else []
    said += ["an admin's login"] if auth.admin_enabled else []
    if not settings.enforced:
        text = f"calls need no credential; {', '.join(said)}"
        return _of_configuration(Grade.OK, "callers", text)
    text = f"calls need a credential: {', '.join(said)}"
    if keys or issuers or settings.admin_token or auth.admin_enabled:
        return _of_configuration(Grade.OK, "callers", text)
    remedy = "set HERMOD_ADMIN_TOKEN, with which keys are made, or write governance.virtual_keys"
    return _of_configuration(Grade.WARNING, "callers", text, remedy)


def _exposure(settings: Settings) -> Finding:
    if settings.encryption_key:
        text = f"reachable at {settings.host}, an encryption key is set"
        return _of_configuration(Grade.OK, "encryption", text)
    return _of_configuration(
        Grade.WARNING,
        "encryption",
        f"reachable from other machines ({settings.host}) without an encryption key",
        "set HERMOD_ENCRYPTION_KEY to a long secret of your own, and keep it",
    )


def bind_problem(host: str, port: int) -> OSError | None:
    """What keeps us from listening there; nothing is ever listened on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _state(seen: Seen, path: Path | None) -> tuple[Grade, str, str]:
    where = f"{seen.engine} at {path}" if path is not None else seen.engine
    text = f"{where}, schema {seen.version}"
    if seen.version == 0:
        text = f"{where}, new: a start will make its tables"
    elif seen.version < seen.newest:
        text += f": a start will bring it to {seen.newest}"
    if seen.weaknesses:
        remedy = "see docs/how-to/scale-out.md"
        return Grade.WARNING, f"{text}. But {'; '.join(seen.weaknesses)}", remedy
    return Grade.OK, text, ""


def _of_store(grade: Grade, text: str, remedy: str = "") -> Finding:
    return Finding(Group.DATA, grade, "store", text, remedy)


def _of_port(grade: Grade, text: str, remedy: str = "") -> Finding:
    return Finding(Group.NETWORK, grade, "port", text, remedy)


def _of_configuration(grade: Grade, subject: str, text: str, remedy: str = "") -> Finding:
    return Finding(Group.CONFIGURATION, grade, subject, text, remedy)
