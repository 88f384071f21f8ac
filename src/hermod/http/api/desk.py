"""Reading requests of the management API, and writing its answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec

from hermod.domain.errors import bad_request
from hermod.governance.wishes import Wish
from hermod.http.body import ByteBudget, read_body
from hermod.http.message import Request, Response

W = TypeVar("W", bound=Wish)
T = TypeVar("T")
Json = dict[str, Any]

_BODY_CAP: Final = 1024 * 1024
_BODIES: Final = 16
"""Bodies of that size at once, at most."""
_FIELDS: Final = 50
_USUAL: Final = 25
_MOST: Final = 100
_DIGITS: Final = 9


class Desk:
    """Takes in what administrators send. One for all resources."""

    def __init__(self) -> None:
        self._budget = ByteBudget(_BODY_CAP * _BODIES)

    async def read(self, request: Request, wish: type[W], *, may_be_empty: bool = False) -> W:
        """The body. Raises Refused: 400 for what is no such JSON, or has members that may not be
        written; 413, 415, 503; and ClientGone."""
        body = await read_body(request.scope, request.receive, _BODY_CAP, self._budget)
        if may_be_empty and not body.strip():
            return wish()
        try:
            return msgspec.json.decode(body, type=wish)
        except msgspec.ValidationError as error:
            raise bad_request(f"Invalid JSON: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise bad_request("Invalid JSON") from None

    async def read_object(self, request: Request) -> Json:
        """The body, any JSON object: its reader knows what may stand in it. Raises like `read`."""
        body = await read_body(request.scope, request.receive, _BODY_CAP, self._budget)
        try:
            return msgspec.json.decode(body, type=Json)
        except msgspec.ValidationError:
            raise bad_request("Invalid JSON: expected an object") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise bad_request("Invalid JSON") from None


def answer(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(status, msgspec.json.encode(value) + b"\n")


def subject_of(request: Request) -> str:
    """Who asks, as the audit log has it."""
    return request.identity.principal.owner if request.identity else "nobody"


def query_of(request: Request) -> Mapping[str, str]:
    """The query's parameters; of several with one name the last counts. Raises Refused (400)."""
    text: bytes = request.scope["query_string"]
    try:
        return dict(
            parse_qsl(text.decode("latin-1"), keep_blank_values=True, max_num_fields=_FIELDS)
        )
    except ValueError:
        raise bad_request("too many query parameters") from None


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of the query, 0 or more; None where it is absent. Raises Refused (400)."""
    text = query.get(name, "")
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        return int(text)
    if text[:1] == "-" and text[1:].isdigit():
        raise bad_request(f"Invalid {name} parameter: must be non-negative")
    raise bad_request(f"Invalid {name} parameter: must be a number")


class Page(NamedTuple):
    """What of a list is asked for."""

    limit: int | None
    """None: all of it."""
    offset: int
    search: str
    sort_by: str
    descending: bool

    def cut(self, everything: Sequence[T]) -> Sequence[T]:
        """This page."""
        end = None if self.limit is None else self.offset + self.limit
        return everything[self.offset : end]


def page_of(query: Mapping[str, str]) -> Page:
    """Raises Refused (400)."""
    limit, offset = number(query, "limit"), number(query, "offset")
    if limit is not None:
        limit = min(limit or _USUAL, _MOST)
    return Page(
        limit,
        offset or 0,
        query.get("search", "").strip().casefold(),
        query.get("sort_by", ""),
        query.get("order", "").lower() == "desc",
    )


def page_json(name: str, shown: Sequence[Json], page: Page, total: int) -> Json:
    """A list with its counts, as Bifrost has them (wire-contract 10.3)."""
    limit = total if page.limit is None else page.limit
    return {
        name: shown,
        "count": len(shown),
        "total_count": total,
        "limit": limit,
        "offset": page.offset,
    }
