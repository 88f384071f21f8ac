"""`/api/governance/routing-rules`: there are none, and none can be made."""

from collections.abc import Iterator
from typing import Final

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure
from hermod.http.api.collection import ROOT
from hermod.http.api.desk import answer
from hermod.http.app import Route
from hermod.http.message import Request, Response

_PATH: Final = f"{ROOT}/routing-rules"
_NONE_HERE: Final = (
    "Routing rules are not supported; weights of a virtual key's provider_configs choose providers"
)


def routes() -> Iterator[Route]:
    """For administrators."""
    yield Route("GET", _PATH, _list)
    yield Route("POST", _PATH, _refuse)
    yield Route("GET", _PATH + "/{id}", _get)
    yield Route("PUT", _PATH + "/{id}", _refuse)
    yield Route("DELETE", _PATH + "/{id}", _refuse)


async def _list(_: Request) -> Response:
    return answer({"rules": [], "count": 0, "total_count": 0, "limit": 0, "offset": 0})


async def _get(_: Request) -> Response:
    raise Refused(Failure("Routing rule not found", status_code=404))


async def _refuse(_: Request) -> Response:
    raise Refused(Failure(_NONE_HERE, status_code=501))
