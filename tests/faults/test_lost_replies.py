"""F9a: PostgreSQL commits, and its answer is lost on the way (SQLSTATE class 08).

Each answer of every verb is lost in turn, until the verb ends without losing one.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest

from hermod.clock import SystemClock
from hermod.domain.errors import StoreError
from hermod.store.api import Store
from hermod.store.postgres import PostgresStore
from tests.faults.limited_verbs import EVERY
from tests.faults.places import PostgresPlace, state_of
from tests.faults.verbs import Start, Verb, check_job, opened
from tests.support.fault_proxy import FaultProxy

MOST_ANSWERS = 40


@asynccontextmanager
async def proxied(place: PostgresPlace) -> AsyncGenerator[tuple[FaultProxy, PostgresStore]]:
    """A store whose way to the database can be cut."""
    parts = urlsplit(place.url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with FaultProxy(parts.hostname, parts.port) as proxy:
        netloc = parts.netloc.replace(f":{parts.port}", f":{proxy.port}")
        store = PostgresStore(urlunsplit(parts._replace(netloc=netloc)), SystemClock())
        await store.open()
        try:
            yield proxy, store
        finally:
            proxy.clear()
            await store.close()


REREAD = frozenset(
    {
        "submit",
        "submit with claim",
        "begin attempt",
        "put back",
        "finish",
        "cancel of a queued job",
        "cancel of a running job",
        "reserve",
        "reserve for a job with a place",
        "change documents",
    }
)
"""Verbs that find out themselves what became of them: their callers notice nothing."""


async def insist(store: PostgresStore, verb: Verb, start: Start, tries: int) -> None:
    """As a worker does: again while the store fails. What it says in the end must be right."""
    for _ in range(tries):
        try:
            result = await verb.act(store, start)
        except StoreError:
            continue
        assert verb.is_right(result, start), result
        return
    raise AssertionError(f"only one answer was lost, and it failed {tries} times")


ELSEWHERE = frozenset(
    {"submit with a place", "finish of what is reserved", "put back of what is reserved"}
)
"""tests/store/postgres/test_limits.py loses the replies to these, and looks at the meters."""

UPKEEP = frozenset({"release worker", "recover", "recover what is reserved", "expire"})
"""Verbs that pass over what another transaction has locked, and come again anyway. The server may
notice late that the one which lost its connection is over."""


async def repeat(store: Store, verb: Verb, start: Start, server: PostgresPlace) -> None:
    """Until the verb has reached its job."""
    async with asyncio.timeout(10):
        while state_of(server, start.job.id) not in verb.states:
            await verb.act(store, start)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ELSEWHERE])
async def test_a_verb_whose_answer_is_lost_has_happened_once(
    name: str, server: PostgresPlace
) -> None:
    verb = EVERY[name]
    lost = 0
    async with opened(server.store()) as direct:
        for nth in range(1, MOST_ANSWERS):
            async with proxied(server) as (proxy, store):
                start = await verb.begin(direct, server)
                proxy.cut_before_reply(nth)
                await insist(store, verb, start, tries=1 if name in REREAD else 3)
                cut = proxy.cuts
            if name in UPKEEP:
                await repeat(direct, verb, start, server)
            await check_job(server, start, verb, done=True)
            lost += cut
            if not cut:
                break
    assert 0 < lost < MOST_ANSWERS - 1
