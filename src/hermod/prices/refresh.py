"""Fetching newer price data, because somebody asked for it."""

from typing import Final

from hermod.net.client import HttpClient
from hermod.net.messages import Limits, NetError, Request
from hermod.prices.data import BadPrices, Data

_TIMEOUT_S: Final = 60.0
_LARGEST: Final = 32 * 1024 * 1024
_FEWEST: Final = 100
"""Models. Less is no price list of the world's providers, whatever it is."""


class RefreshFailed(Exception):
    """There is no newer data to be had; the text says why."""


def published_at() -> str:
    """Where the package's makers publish its data."""
    from genai_prices.update_prices import DEFAULT_UPDATE_URL  # noqa: PLC0415 - 25 MB, for this

    return DEFAULT_UPDATE_URL


async def fetch_prices(url: str, *, user_agent: str) -> tuple[bytes, int]:
    """The data file at this address, read to its end, and how many models it knows.

    Raises RefreshFailed.
    """
    client = HttpClient(Limits(reply_bytes=_LARGEST), user_agent=user_agent)
    try:
        reply = await client.send(Request("GET", url), timeout_s=_TIMEOUT_S)
    except NetError as error:
        raise RefreshFailed(str(error)) from error
    finally:
        await client.close()
    if reply.status != 200:
        raise RefreshFailed(f"{url} answered with status {reply.status}")
    try:
        models = Data(reply.body, url).check()
    except BadPrices as error:
        raise RefreshFailed(f"{url} holds no price data: {error}") from error
    if models < _FEWEST:
        raise RefreshFailed(f"{url} holds no price data: {models} models")
    return reply.body, models
