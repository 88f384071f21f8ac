"""Who has work tells the others: one NOTIFY per group of commits, on a connection of its own.

It is sent after the commit, not with it: a transaction that notifies holds a lock of the whole
server while it is flushed to the disk. What gets lost with a dying process is found by the next
look of any worker, at the latest after its upkeep pause.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from hermod.domain.errors import StoreError
from hermod.store.postgres.clock import DatabaseClock
from hermod.store.postgres.connections import (
    CONNECT_TIMEOUT_S,
    STATEMENT_TIMEOUT_S,
    WHO,
    Connections,
)
from hermod.store.postgres.driver import Connection, words
from hermod.store.postgres.outage import jittered, now_s

log = logging.getLogger(__name__)

_CHANNEL: Final = "hermod_work"
_PAYLOAD_BYTES: Final = 7_000
"""PostgreSQL takes fewer than 8,000."""
_LOOK: Final = "*"
"""Instead of names: look for yourself."""
_BEAT_S: Final = 10.0
"""Between two signs of life on the connection, each of which also asks for the time."""
_PROBE_S: Final = 2.0
_POLL_S: Final = 0.25
"""How often we look where no notification gets through."""
_FAREWELL_S: Final = 0.5
"""For what has yet to be told when we leave."""
_PAUSE_S: Final = (0.1, 2.0)
"""Between two tries to connect: the first, and where they stop growing."""


class Wake:
    """Tells and hears of claimable jobs, and keeps the clock right."""

    def __init__(
        self,
        connections: Connections,
        clock: DatabaseClock,
        sql: Mapping[str, str],
        due_lanes: Callable[[], Awaitable[Iterable[str]]],
    ) -> None:
        """`due_lanes` looks at the store for itself."""
        self._connections = connections
        self._clock = clock
        self._sql = sql
        self._due_lanes = due_lanes
        self._callbacks: list[Callable[[str], None]] = []
        self._owed: set[str] = set()
        """Lanes that the others have not been told of."""
        self._kick = asyncio.Event()
        self._all_told = asyncio.Event()
        self._all_told.set()
        self._heard_ourselves = asyncio.Event()
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._is_deaf = False
        """Whether it was said that notifications do not come through."""
        self._pid = 0
        """Of our session. Behind a pooler the driver knows another number."""

    def on_work(self, callback: Callable[[str], None]) -> None:
        """Have `callback(lane)` called when a lane has work."""
        self._callbacks.append(callback)

    def tell(self, lanes: Iterable[str]) -> None:
        """Work was committed: tell this process now and the others soon."""
        self._call(lanes)
        self._owed.update(lanes)
        if self._owed:
            self._all_told.clear()
            self._kick.set()

    async def start(self) -> None:
        """Begin to listen, and to try again for ever where that fails."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._stay_connected())
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._listening.wait()

    async def close(self) -> None:
        """Tell the last, then stop listening."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await self._all_told.wait()
        tasks = {*self._looks, *({self._task} if self._task else ())}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _call(self, lanes: Iterable[str]) -> None:
        loop = asyncio.get_running_loop()
        for callback in self._callbacks:
            for lane in lanes:
                loop.call_soon(callback, lane)

    async def _stay_connected(self) -> None:
        pause_s = _PAUSE_S[0]
        while True:
            try:
                connection = await self._connections.connect()
            except StoreError:
                await asyncio.sleep(jittered(pause_s))
                pause_s = min(pause_s * 2, _PAUSE_S[1])
                continue
            try:
                await self._serve(connection)
            except Exception as error:  # noqa: BLE001 - the boundary of a loop: begin again
                log.info("notifications: connecting again: %s", words(error))
            finally:
                connection.terminate()
            pause_s = _PAUSE_S[0]
            await asyncio.sleep(jittered(pause_s))

    async def _serve(self, connection: Connection) -> None:
        """Speak and listen until the connection breaks. Raises what it broke with."""
        broken = asyncio.Event()
        connection.add_termination_listener(lambda _: (broken.set(), self._kick.set()))
        await self._keep_time(connection)
        told = await self._listen(connection)
        if self._listening.is_set():
            await self._look()  # what was said while nobody listened
        self._listening.set()
        beat_s = _BEAT_S if told else _POLL_S
        look_s = now_s() + beat_s
        while not broken.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_s):
                    await self._kick.wait()
            self._kick.clear()
            if self._owed and not broken.is_set():
                await self._tell_the_others(connection)
            if now_s() >= look_s:
                look_s = now_s() + beat_s
                await self._keep_time(connection)
                if not told:
                    await self._look()

    async def _listen(self, connection: Connection) -> bool:
        """Whether notifications come through."""
        if self._connections.direct:
            async with asyncio.timeout(STATEMENT_TIMEOUT_S):
                ((self._pid,),) = await connection.fetch(WHO)
                self._heard_ourselves.clear()
                await connection.add_listener(_CHANNEL, self._hear)
            await self._say(connection, "")
            if await self._is_heard():
                return True
        # A session that a pooler shares would go on to hear, for whoever has it next.
        if not self._is_deaf:
            self._is_deaf = True
            log.warning(
                "notifications do not come through, as behind a connection pooler in transaction "
                "mode: looking for work every %g s instead",
                _POLL_S,
            )
        return False

    async def _tell_the_others(self, connection: Connection) -> None:
        owed, self._owed = self._owed, set()
        text = "\n".join(owed)
        try:
            await self._say(connection, text if len(text.encode()) < _PAYLOAD_BYTES else _LOOK)
        except BaseException:
            self._owed |= owed  # on the next connection
            self._kick.set()
            raise
        if not self._owed:
            self._all_told.set()

    async def _say(self, connection: Connection, payload: str) -> None:
        async with asyncio.timeout(STATEMENT_TIMEOUT_S):
            await connection.fetch(self._sql["notify"], payload)

    async def _keep_time(self, connection: Connection) -> None:
        async with asyncio.timeout(STATEMENT_TIMEOUT_S):
            asked_s = self._clock.monotonic()
            ((now,),) = await connection.fetch(self._sql["now"])
        self._clock.heard(asked_s, now)

    async def _is_heard(self) -> bool:
        """Whether what we said to ourselves came back."""
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._heard_ourselves.wait()
        except TimeoutError:
            return False
        return True

    def _hear(self, connection: Any, sender: int, _channel: str, payload: Any) -> None:
        if connection.is_closed():
            return
        if sender == self._pid:
            self._heard_ourselves.set()  # this process knows already
        elif payload == _LOOK:
            task = asyncio.get_running_loop().create_task(self._look())
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)
        elif payload:
            self._call(payload.split("\n"))

    async def _look(self) -> None:
        """Call for every lane that has work."""
        try:
            self._call(await self._due_lanes())
        except StoreError as error:
            log.info("looking for work: %s", error)
