"""`/api/providers` with the keys of each, and `/api/keys` (wire-contract 10.3)."""

from collections.abc import Iterator
from typing import cast

from hermod.domain.errors import Refused, bad_request
from hermod.domain.failure import Failure
from hermod.governance.providers import By, ProviderManagement
from hermod.http.api.desk import Desk, Json, answer, subject_of
from hermod.http.api.provider_show import READ_ONLY, brief_key_json, keys_json, provider_json
from hermod.http.app import Route
from hermod.http.message import Request, Response
from hermod.http.problems import route_not_found

_ROOT = "/api/providers"


class Providers:
    """The handlers."""

    def __init__(self, management: ProviderManagement, desk: Desk) -> None:
        self._management = management
        self._desk = desk

    def routes(self) -> Iterator[Route]:
        """All of them are for administrators."""
        yield Route("GET", _ROOT, self.list)
        yield Route("POST", _ROOT, self.create)
        yield Route("GET", _ROOT + "/{provider}", self.get)
        yield Route("PUT", _ROOT + "/{provider}", self.put)
        yield Route("DELETE", _ROOT + "/{provider}", self.delete)
        yield Route("GET", _ROOT + "/{provider}/keys", self.keys)
        yield Route("POST", _ROOT + "/{provider}/keys", self.add_key)
        # With two arguments: "<provider>/keys/<key id>".
        yield Route("GET", _ROOT + "/{key…}", self.get_key)
        yield Route("PUT", _ROOT + "/{key…}", self.put_key)
        yield Route("DELETE", _ROOT + "/{key…}", self.delete_key)
        yield Route("GET", "/api/keys", self.all_keys)

    async def list(self, _: Request) -> Response:
        """`GET /api/providers`"""
        found = [provider_json(shown) for shown in self._management.all()]
        return answer({"providers": found, "total": len(found)})

    async def get(self, request: Request) -> Response:
        """`GET /api/providers/{provider}`. Raises Refused (404)."""
        return answer(provider_json(self._management.one(request.argument)))

    async def create(self, request: Request) -> Response:
        """`POST /api/providers`. Raises Refused (400, 403, 409)."""
        members = await self._desk.read_object(request)
        name = members.pop("provider", None) or members.pop("name", None)
        if not isinstance(name, str) or not name:
            raise bad_request("Missing provider")
        shown = await self._management.create(name.lower(), _written(members), _by(request))
        return answer(provider_json(shown))

    async def put(self, request: Request) -> Response:
        """`PUT /api/providers/{provider}`: what is absent stays. Raises Refused (400, 403, 409)."""
        members = await self._desk.read_object(request)
        for member in ("name", "provider"):
            if members.pop(member, request.argument) != request.argument:
                raise bad_request("the name of a provider cannot be changed")
        shown = await self._management.put(request.argument, _written(members), _by(request))
        return answer(provider_json(shown))

    async def delete(self, request: Request) -> Response:
        """`DELETE /api/providers/{provider}`. Raises Refused (404, 409)."""
        await self._management.delete(request.argument, _by(request))
        return answer({"name": request.argument})

    async def keys(self, request: Request) -> Response:
        """`GET /api/providers/{provider}/keys`. Raises Refused (404)."""
        found = keys_json(self._management.one(request.argument))
        return answer({"keys": found, "total": len(found)})

    async def add_key(self, request: Request) -> Response:
        """`POST /api/providers/{provider}/keys`. Raises Refused (400, 403, 404, 409)."""
        key = _written(await self._desk.read_object(request))
        shown = await self._management.add_key(request.argument, key, _by(request))
        return answer(keys_json(shown)[-1])

    async def get_key(self, request: Request) -> Response:
        """`GET /api/providers/{provider}/keys/{key_id}`. Raises Refused (404)."""
        where = _key_in(request)
        if where is None:
            return route_not_found()
        return answer(_one(keys_json(self._management.one(where[0])), where[1]))

    async def put_key(self, request: Request) -> Response:
        """`PUT …/keys/{key_id}`: what is absent stays. Raises Refused (400, 403, 404, 409)."""
        where = _key_in(request)
        if where is None:
            return route_not_found()
        key = _written(await self._desk.read_object(request))
        shown = await self._management.put_key(*where, key, _by(request))
        return answer(_one(keys_json(shown), where[1]))

    async def delete_key(self, request: Request) -> Response:
        """`DELETE …/keys/{key_id}`. Raises Refused (403, 404, 409)."""
        where = _key_in(request)
        if where is None:
            return route_not_found()
        gone = _one(keys_json(self._management.one(where[0])), where[1])
        await self._management.delete_key(*where, _by(request))
        return answer(gone)

    async def all_keys(self, _: Request) -> Response:
        """`GET /api/keys`: a bare array, as in Bifrost."""
        return answer(
            [
                brief_key_json(shown.name, key)
                for shown in self._management.all()
                for key in keys_json(shown)
            ]
        )


def _by(request: Request) -> By:
    identity = request.identity
    return By(subject_of(request), is_open=identity is None or identity.via == "open")


def _written(members: Json) -> Json:
    """Without what is only ever shown, also in the keys."""
    found = {name: value for name, value in members.items() if name not in READ_ONLY}
    keys = found.get("keys")
    if isinstance(keys, list):
        found["keys"] = [
            _written(cast("Json", key)) if isinstance(key, dict) else key
            for key in cast("list[object]", keys)
        ]
    return found


def _key_in(request: Request) -> tuple[str, str] | None:
    """The provider and the key's id; None for a path that is none of ours."""
    provider, keys, key_id = (*request.argument.split("/", 2), "", "")[:3]
    return (provider, key_id) if keys == "keys" and key_id and "/" not in key_id else None


def _one(keys: list[Json], key_id: str) -> Json:
    for key in keys:
        if key["id"] == key_id:
            return key
    raise Refused(Failure("Provider key not found", status_code=404))
