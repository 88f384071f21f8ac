"""How schemathesis asks here: at every place of a door, for models there are, and what it checks.

Nothing here makes a valid request invalid, or the other way round.
"""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

import requests
import schemathesis
from schemathesis.checks import CHECKS, CheckContext, load_all_checks
from schemathesis.core.failures import Failure

from hermod.kinds.kind import MODEL_LENGTH_MAX
from hermod.providers.registry import KNOWN_PROVIDERS

NEEDS_CREDENTIALS: Final = ("ignored_auth", "object_level_authorization")
"""A gateway on loopback asks nobody for a credential, so these have nothing to try. Who may do what
on an open address is enumerated in tests/http/test_app.py."""

JUDGED_HERE: Final = (
    "not_a_server_error",
    "positive_data_acceptance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)
"""Checks that functions below stand for."""

MODELS: Final = (
    "mock/hello",
    "mock/echo",
    "mock/tool",
    "mock/stream?chunks=3&pause=0",
    "openai/canned",
)
_FOREIGN: Final = ("/anthropic/", "/genai/")
"""Doors whose requests are translated. Their description is an outline of somebody else's API: what
cannot be carried over is refused with the place where it stands."""
_MODEL: Final = re.compile(r"[^\x00]+")
_NAMED: Final = re.compile(rf"(?:{'|'.join(map(re.escape, KNOWN_PROVIDERS))})/[^\x00]+")
_SAID_IN_WORDS: Final = re.compile(
    r"streaming is not supported for async requests"
    r"|stream is not supported for background responses"
    r"|messages is required for chat completion"
    r"|.*both reasoning_(\w+) and reasoning\.\1 cannot be present at the same time"
    r"|failed to parse multipart form: more than 64 parts"
    r"|'.*' is not supported on this route"
    r"|query is required for rerank|document text is required for rerank at index \d+",
    re.DOTALL,
)
"""Refusals beyond a schema's words: of things that exclude or need each other across a request, and
of texts of nothing but blanks, which are not the same ones in every dialect of patterns."""
_HIDDEN: Final = re.compile("%(?:2F|5C|7F|[01][0-9A-F])", re.IGNORECASE)
_EMPTY_NUMBER: Final = re.compile(r"/api/.*[?&](?:limit|offset|before)=(?:&|$)")
_AMBIGUOUS: Final = "the path contains an encoded slash, a backslash or a control character"


def aim(case: schemathesis.Case) -> None:
    """Name models and keys that this gateway has, where the request names any."""
    path = case.operation.path
    body: Any = case.body
    model: object = body.get("model") if isinstance(body, dict) else None
    if isinstance(model, str):
        body["model"] = _one_there_is(model, path)
    for name in ("x-bf-api-key", "x-bf-api-key-id"):
        if name in (case.headers or {}):
            case.headers[name] = "main"


def _one_there_is(model: str, path: str) -> str:
    """A model of this gateway in place of one that could be."""
    could_be = _NAMED if path.startswith(("/v1/", "/openai/")) else _MODEL
    if len(model) > MODEL_LENGTH_MAX or not could_be.fullmatch(model):
        return model
    # The last one is of OpenAI, which has neither.
    offered = MODELS[:-1] if path.endswith(("rerank", "ocr")) else MODELS
    return offered[zlib.crc32(model.encode("utf-8", "replace")) % len(offered)]


class Session(requests.Session):
    """Sends each request to one of the places of its door, always to the same one."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__()
        self.trust_env = False
        self.slowest: dict[str, float] = {}
        """Seconds to the headers of an answer, by path."""
        self.asked = 0
        self._places: list[tuple[re.Pattern[str], list[str]]] = []
        for path, ways in document["paths"].items():
            if also := ways.get("x-also-at"):
                pattern = re.escape(path).replace(r"\{model\}", "(.+)")
                pattern = pattern.replace(r"\{response_id\}", "([^/]+)")
                self._places.append((re.compile(pattern), [path, *also]))
        self._places.sort(key=lambda place: -len(place[0].pattern))  # the closest one first

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        assert request.url is not None
        root, slash, rest = request.url.partition("//")
        host, _, path = rest.partition("/")
        path, mark, query = f"/{path}".partition("?")
        for pattern, places in self._places:
            if found := pattern.fullmatch(path):
                body = request.body if isinstance(request.body, bytes) else b""
                place = places[zlib.crc32(body + path.encode()) % len(places)]
                # A slash is sent as it is; OpenAPI has no word for that.
                before, brace, after = place.partition("{")
                argument = "".join(found.groups())
                if ":" in place and not _HIDDEN.search(argument):
                    argument = "mock/hello"
                path = before + argument + after.partition("}")[2] if brace else place
                break
        request.url = f"{root}{slash}{host}{path}{mark}{query}"
        response = super().send(request, **options)
        self.asked += 1
        took_s = response.elapsed.total_seconds()
        self.slowest[path] = max(took_s, self.slowest.get(path, 0.0))
        return response


def original(name: str) -> Any:
    """A check of schemathesis."""
    (found,) = CHECKS.get_by_names([name])
    return found


def built_in() -> list[Any]:
    """The checks of schemathesis, all that apply here."""
    load_all_checks()
    left_out = {*NEEDS_CREDENTIALS, *JUDGED_HERE}
    return [check for check in CHECKS.get_all() if check.__name__ not in left_out]


def does_not_fail(
    ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Schemathesis' own check, but where an upstream answered nothing with nothing, and for what
    there is not here though Bifrost has it."""
    is_absent = response.status_code == 501 and case.operation.path.startswith("/api/")
    if b'"empty response received from provider"' not in response.content and not is_absent:
        original("not_a_server_error")(ctx, response, case)


def refuses_what_it_forbids(
    ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Schemathesis' own check, but for forms, where every value is a text, and for numbers of a
    list's page: an empty one is as good as none."""
    is_absent = _EMPTY_NUMBER.search(response.request.url or "") is not None
    if case.media_type != "multipart/form-data" and not is_absent:
        original("negative_data_rejection")(ctx, response, case)


def knows_its_methods(
    ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Schemathesis' own checks, but where a path is nobody's, and where it is two templates'.

    What proxies may read differently is refused before anything is looked up. And below Google's
    models one path has GET for all names and POST for names with an action.
    """
    is_ambiguous = response.status_code == 400 and _AMBIGUOUS.encode() in response.content
    if not is_ambiguous and not case.operation.path.startswith("/genai/v1beta/models/"):
        original("unsupported_method")(ctx, response, case)
        original("allow_header_conformance")(ctx, response, case)


def has_the_shape_of_errors(
    ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """A BifrostError, or the error of the door; JSON, and nothing else beside it."""
    if response.status_code < 400 or case.method == "HEAD":
        return
    assert response.headers["content-type"] == ["application/json"]
    whole = json.loads(response.content)
    assert response.content.endswith(b"}\n")
    if case.operation.path.startswith("/anthropic/") and "type" in whole:
        assert whole.keys() == {"type", "error"}
        assert whole["error"].keys() == {"type", "message"}
    elif case.operation.path.startswith("/genai/") and "is_bifrost_error" not in whole:
        assert whole.keys() == {"error"}
        assert whole["error"]["code"] == response.status_code
    else:
        assert whole["is_bifrost_error"] in (False, True)
        assert whole.get("status_code", response.status_code) == response.status_code
        assert isinstance(whole["extra_fields"], dict)
    message = whole["error"]["message"]
    assert isinstance(message, str)
    assert message


def has_the_right_headers(
    ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """No word on what serves, when to ask again, and what keeps browsers in check."""
    headers = response.headers
    assert "server" not in headers
    assert headers["x-content-type-options"] == ["nosniff"]
    assert "date" in headers
    if response.status_code in (202, 429, 503):
        assert int(headers["retry-after"][0]) >= 1


def accepts_what_it_describes(
    ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Schemathesis' own check, but for what the upstream or a translation refused (1.4).

    What an admin writes depends on what there is already, on the clock, and on the rules of the
    config file: no schema has all of that.
    """
    if case.operation.path.startswith("/api/"):
        return
    try:
        original("positive_data_acceptance")(ctx, response, case)
    except Failure:
        whole = json.loads(response.content)
        is_upstreams = "provider" in whole.get("extra_fields", ())
        message = whole["error"]["message"]
        is_translations = case.operation.path.startswith(_FOREIGN) and " - at `$" in message
        if not is_upstreams and not is_translations and not _SAID_IN_WORDS.fullmatch(message):
            raise


OUR_OWN: Final = (
    has_the_shape_of_errors,
    has_the_right_headers,
    accepts_what_it_describes,
    does_not_fail,
    refuses_what_it_forbids,
    knows_its_methods,
)
