"""Every key of every provider, tried with a call that costs nothing."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from hermod.calls.credentials import CredentialError, Credentials
from hermod.calls.free import ask
from hermod.doctor.explain import Asked, Told, no_list, no_reply, refused
from hermod.doctor.finding import Finding, Grade, Group
from hermod.domain.clock import Clock
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.net.client import HttpClient
from hermod.net.messages import NetError, Reply
from hermod.providers.adapter import CannotCarry
from hermod.providers.free_calls import free_call
from hermod.providers.model_lists import FreeCall, page_in

REPLY_BYTES: Final = 16 * 1024 * 1024
_AT_ONCE: Final = 16
_AHEAD_S: Final = 30.0
"""More than a reply's way and a date's whole seconds can make up."""
_REFUSED_S: Final = 240.0
"""AWS refuses signatures that are 5 minutes off, Google tokens sooner."""


class Trial(NamedTuple):
    """A key, and what came of it."""

    finding: Finding
    ahead_s: float | None = None
    """How far this machine's clock is ahead of the provider's; None where it did not say."""


class Trials:
    """Tries keys, several at once."""

    def __init__(
        self,
        client: HttpClient,
        credentials: Credentials,
        clock: Clock,
        environ: Mapping[str, str],
        timeout_s: float,
    ) -> None:
        """`timeout_s` is for each."""
        self._timeout_s = timeout_s
        self._client = client
        self._credentials = credentials
        self._clock = clock
        self._environ = environ
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def of(self, providers: Sequence[ProviderSettings]) -> AsyncIterator[Trial]:
        """The trials of every key, in the order in which they end."""
        tasks = [
            asyncio.create_task(self._tried(each, key))
            for each in providers
            for key in each.keys or (None,)
        ]
        for next_one in asyncio.as_completed(tasks):
            yield await next_one

    async def _tried(self, provider: ProviderSettings, key: KeySettings | None) -> Trial:
        if key is not None and not key.enabled:
            return _trial(provider, key, Told(Grade.OK, "switched off, not tried"))
        if key is not None and not key.usable and not provider.keyless:
            remedy = f"set its value, or the variable it names ({provider.origin})"
            return _trial(provider, key, Told(Grade.ERROR, "has no value", remedy))
        if key is None and not provider.keyless:
            told = Told(Grade.ERROR, "has no key: its jobs fail", f"give {provider.name} a key")
            return _trial(provider, key, told)
        try:
            call = free_call(provider, key)
        except CannotCarry as error:
            told = Told(Grade.ERROR, error.message, f"complete it in {provider.origin}")
            return _trial(provider, key, told)
        if call is None and not (provider.base_url or (key is not None and key.base_url)):
            remedy = (
                f"write its address into {provider.origin}: see `hermod providers {provider.name}`"
            )
            told = Told(Grade.ERROR, "has no address: its jobs fail", remedy)
            return _trial(provider, key, told)
        if call is None:
            return _trial(provider, key, Told(Grade.WARNING, "cannot be tried without cost"))
        async with self._turns:
            return await self._call(provider, key, call)

    async def _call(
        self, provider: ProviderSettings, key: KeySettings | None, call: FreeCall
    ) -> Trial:
        asked = Asked(provider, key, call.url, self._environ)
        started_s = self._clock.monotonic()
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                reply = await ask(
                    self._client,
                    self._credentials,
                    provider,
                    key,
                    call,
                    timeout_s=self._timeout_s,
                )
        except NetError as error:
            return _trial(provider, key, no_reply(asked, error, self._timeout_s))
        except CredentialError as error:
            told = Told(Grade.ERROR, str(error), f"check {asked.place}")
            return _trial(provider, key, told)
        except TimeoutError:
            text = f"no credential within {2 * self._timeout_s:g} s"
            told = Told(Grade.ERROR, text, f"check {asked.place}, and who gives tokens for it")
            return _trial(provider, key, told)
        took_s = self._clock.monotonic() - started_s
        told = _judged(asked, call, reply, took_s)
        return _trial(provider, key, told)._replace(ahead_s=self._ahead_s(reply))

    def _ahead_s(self, reply: Reply) -> float | None:
        try:
            theirs = parsedate_to_datetime(reply.header("date") or "")
            return self._clock.now() / 1e6 - theirs.timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None


def of_clock(ahead: Sequence[float]) -> Finding | None:
    """This machine's clock, by the median of what the replies said; None where none said it."""
    if not ahead:
        return None
    skew_s = sorted(ahead)[len(ahead) // 2]
    if abs(skew_s) < _AHEAD_S:
        return Finding(Group.NETWORK, Grade.OK, "clock", "agrees with the providers'")
    grade = Grade.ERROR if abs(skew_s) >= _REFUSED_S else Grade.WARNING
    side = "ahead of" if skew_s > 0 else "behind"
    text = f"{abs(skew_s):,.0f} s {side} the providers': signed requests and tokens are refused"
    return Finding(Group.NETWORK, grade, "clock", text, "set it, and keep it with NTP")


def _judged(asked: Asked, call: FreeCall, reply: Reply, took_s: float) -> Told:
    if not 200 <= reply.status < 300:
        return refused(asked, reply)
    if reply.body.lstrip()[:1] not in {b"{", b"["}:
        return no_list(asked, reply)
    page = page_in(asked.provider.row, call.url, reply.body)
    models = f", {len(page.models)} models" if page is not None and page.models else ""
    if asked.key is not None and not call.needs_key:
        text = f"{asked.host} is there; its list needs no key, so this one cannot be tried"
        return Told(Grade.WARNING, f"{text} without cost")
    state = "accepted" if asked.key is not None else "answers, no key needed"
    return Told(Grade.OK, f"{state}{models} ({took_s:.1f} s)")


def _trial(provider: ProviderSettings, key: KeySettings | None, told: Told) -> Trial:
    subject = provider.name if key is None else f"{provider.name} {key.name}"
    return Trial(Finding(Group.PROVIDERS, told.grade, subject, told.text, told.remedy))
