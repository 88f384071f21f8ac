"""Every step of a call is a place to fail at, and no failure there harms the next call."""

import pytest

from hermod.domain.failpoint import NETWORK
from hermod.net.messages import Limits, NetError
from tests.net.upstream import PATIENCE_S, client, echo, streamed, upstream
from tests.support.failpoints import armed, counted

BODY = b"x" * (16 * 1024 * 1024)
"""More than the kernel takes at once for a peer that has yet to read, and gives at once."""


async def test_a_call_passes_every_network_step() -> None:
    room = Limits(reply_bytes=len(BODY))
    async with upstream(echo) as server, client(room) as http:
        with armed(counted()) as hits:
            await http.send(server.post(body=BODY), timeout_s=PATIENCE_S)
            reached = {name for name, n in hits().items() if n}
    assert reached == set(NETWORK)


async def test_a_streamed_call_passes_every_network_step() -> None:
    room = Limits(reply_bytes=len(BODY))
    async with upstream(echo) as server, client(room) as http:
        with armed(counted()) as hits:
            await streamed(http, server.post(body=BODY))
            reached = {name for name, n in hits().items() if n}
    assert reached == set(NETWORK)


@pytest.mark.parametrize("step", [step for step in NETWORK if "half" not in step])
async def test_a_failure_at_any_step_of_a_stream_leaves_the_next_its_own_reply(step: str) -> None:
    async with upstream(echo) as server, client() as http:
        with armed(f"{step}=raise"), pytest.raises((NetError, OSError)):
            await streamed(http, server.post(body=b"first"))
        assert await streamed(http, server.post(body=b"second")) == b"second"


@pytest.mark.parametrize("step", [step for step in NETWORK if "half" not in step])
async def test_a_failure_at_any_step_is_an_error_and_leaves_the_next_call_its_own_reply(
    step: str,
) -> None:
    async with upstream(echo) as server, client() as http:
        with armed(f"{step}=raise"), pytest.raises((NetError, OSError)):
            await http.send(server.post(body=b"first"), timeout_s=PATIENCE_S)
        reply = await http.send(server.post(body=b"second"), timeout_s=PATIENCE_S)
        assert reply.body == b"second"
