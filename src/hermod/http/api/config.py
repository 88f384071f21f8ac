"""`/api/config`: what the gateway runs with, and the little that can be changed here."""

from collections.abc import Iterator, Mapping
from typing import Final, cast

from hermod.domain.errors import bad_request
from hermod.governance.runtime_settings import TTL, RuntimeSettings
from hermod.http.api.desk import Desk, Json, answer, subject_of
from hermod.http.app import Route
from hermod.http.message import Request, Response

_CLIENT: Final = "client_config"


class Config:
    """The handlers."""

    def __init__(self, shown: Mapping[str, object], settings: RuntimeSettings, desk: Desk) -> None:
        """`shown`: everything, as the file and the environment have it, without secrets."""
        self._shown = shown
        self._settings = settings
        self._desk = desk

    def routes(self) -> Iterator[Route]:
        """All of them are for administrators."""
        yield Route("GET", "/api/config", self.get)
        yield Route("PUT", "/api/config", self.put)

    async def get(self, _: Request) -> Response:
        """`GET /api/config`"""
        return answer(self._now())

    async def put(self, request: Request) -> Response:
        """`PUT /api/config`: what is sent back as it was changes nothing.

        Raises Refused: 400 for what only the file can change, 409 for what the file has fixed.
        """
        asked = await self._desk.read_object(request)
        now = self._now()
        ours = cast("Json", now[_CLIENT])
        client: object = asked.pop(_CLIENT, None) or {}
        if not isinstance(client, dict):
            raise bad_request(f"{_CLIENT}: expected an object")
        theirs = cast("Json", client)
        ttl_s = theirs.pop(TTL, None)
        fixed = [name for name, value in asked.items() if now.get(name) != value]
        fixed += [f"{_CLIENT}.{name}" for name in theirs if ours.get(name) != theirs[name]]
        if fixed:
            raise bad_request(
                f"{', '.join(sorted(fixed))}: cannot be changed here; the gateway reads its config "
                "file when it starts"
            )
        if ttl_s is not None and (not isinstance(ttl_s, int) or isinstance(ttl_s, bool)):
            raise bad_request(f"{_CLIENT}.{TTL}: expected a whole number of seconds")
        # Zero and less change nothing (wire-contract 9).
        if ttl_s is not None and ttl_s > 0 and ttl_s != ours[TTL]:
            await self._settings.change_result_ttl(ttl_s, subject_of(request))
        return answer({"status": "success", "message": "configuration updated successfully"})

    def _now(self) -> Json:
        client = cast("Json", self._shown[_CLIENT])
        return {**self._shown, _CLIENT: {**client, TTL: self._settings.result_ttl_s}}
