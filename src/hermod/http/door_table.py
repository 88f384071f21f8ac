"""Which integration answers at which path (wire-contract 6.2)."""

from collections.abc import Callable, Container, Iterator
from functools import partial
from typing import Final, NamedTuple

from hermod.domain.errors import Refused, bad_request
from hermod.domain.failure import Failure
from hermod.domain.headers import UNSENDABLE
from hermod.domain.job import WIRE_STATUS, JobView
from hermod.doors import anthropic_reply, anthropic_request, genai_embedding, genai_request, openai
from hermod.doors.own_words import Speaks, nobody
from hermod.doors.prefix import prefixed, spread, with_provider
from hermod.http.door_shapes import OPENAI, Anthropic, GenAi, GenAiEmbedding
from hermod.http.front_doors import Door, FrontDoors
from hermod.http.live_calls import Shape, failed, refused
from hermod.http.message import Request, Response, Streamed
from hermod.jobs.intake import Asked
from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.kinds.embedding import EMBEDDING
from hermod.kinds.kind import AnyKind
from hermod.kinds.registry import KINDS
from hermod.kinds.responses import RESPONSES

_SECOND: Final = 1_000_000
_FRAMEWORKS: Final = ("litellm", "langchain", "pydanticai")
"""Each has a prefix of its own, with all doors behind it."""
_ANTHROPICS: Final = frozenset({b"anthropic-version", b"anthropic-beta"})
_GENAI_VERSIONS: Final = ("v1beta", "v1")
_NOT_OPENAIS: Final = frozenset({"rerank", "ocr"})
_PLACEHOLDERS: Final[dict[str, Callable[[JobView], bytes]]] = {
    "responses": lambda job: openai.placeholder_response(
        job.id, WIRE_STATUS[job.state], _model(job), job.created_at // _SECOND
    ),
    "chat_completion": lambda job: openai.placeholder_chat(
        job.id, _model(job), job.created_at // _SECOND
    ),
}


def _model(job: JobView) -> str:
    return f"{job.lane}/{job.model}"


class DoorRoute(NamedTuple):
    """A door at its place."""

    path: str
    door: Door


def door_routes(known_providers: Container[str], speaks: Speaks = nobody) -> Iterator[DoorRoute]:
    """Every door of OpenAI's and Anthropic's clients. `speaks`: see doors/own_words.py."""
    kinds = [kind for kind in KINDS if kind.request_type not in _NOT_OPENAIS]
    for root, integration in _openai_roots():
        for kind in kinds:
            door = _openai_door(kind, integration, known_providers)
            yield DoorRoute(f"{root}/{kind.path}", door)
    for root, integration in _anthropic_roots():
        yield DoorRoute(root, _anthropic_door(integration, known_providers, speaks))


def anthropic_roots() -> Iterator[str]:
    """Below which paths Anthropic's clients ask for more than messages."""
    return (root for root, _ in _anthropic_roots())


def response_roots() -> Iterator[str]:
    """Below which paths a response can be retrieved and cancelled."""
    yield "/v1/responses"
    for root, _ in _openai_roots():
        yield f"{root}/responses"


def _openai_roots() -> Iterator[tuple[str, str]]:
    """Where OpenAI's API begins, and behind which integration."""
    for path, integration in _places("/openai", "openai"):
        for version in ("/v1", "", "/openai"):
            yield path + version, integration
    for framework in _FRAMEWORKS:
        # Their clients are given one address for all providers.
        for version in ("/v1", ""):
            yield f"/{framework}{version}", framework


def _anthropic_roots() -> Iterator[tuple[str, str]]:
    """Where Anthropic's messages are, and behind which integration."""
    for path, integration in _places("/anthropic", "anthropic"):
        yield f"{path}/v1/messages", integration
    for framework in _FRAMEWORKS:
        yield f"/{framework}/v1/messages", framework


def model_roots() -> Iterator[str]:
    """Where models are listed in OpenAI's shape."""
    yield "/v1/models"
    for path, _ in _places("/openai", "openai"):
        for version in ("/v1", ""):
            yield f"{path}{version}/models"
    for framework in _FRAMEWORKS:
        for version in ("/v1", ""):
            yield f"/{framework}{version}/models"


def genai_roots() -> Iterator[str]:
    """Below which paths Google's models are called."""
    for path, _ in _places("/genai", "genai"):
        for version in _GENAI_VERSIONS:
            yield f"{path}/{version}/models"
    for framework in _FRAMEWORKS:
        for version in _GENAI_VERSIONS:
            yield f"/{framework}/{version}/models"


def genai_lists() -> Iterator[str]:
    """Where models are listed in Google's shape."""
    for path, _ in _places("/genai", "genai"):
        for version in _GENAI_VERSIONS:
            yield f"{path}/{version}/models"


def _places(path: str, name: str) -> Iterator[tuple[str, str]]:
    yield path, name
    for framework in _FRAMEWORKS:
        yield f"/{framework}{path}", framework


def _openai_door(kind: AnyKind, integration: str, known_providers: Container[str]) -> Door:
    return Door(
        kind=kind,
        integration=integration,
        shape=lambda _: OPENAI,
        translate=partial(_with_openai, known_providers),
        placeholder=_PLACEHOLDERS.get(kind.request_type),
        background=kind is RESPONSES,
    )


def _with_openai(known_providers: Container[str], asked: Asked, _: Request) -> Asked:
    """The request with `openai/` in front of a model that names no provider."""
    if asked.form is not None:
        fields = tuple(
            (name, with_provider(value, known_providers, "openai") if name == "model" else value)
            for name, value in asked.form.fields
        )
        return asked._replace(form=asked.form._replace(fields=fields))
    assert isinstance(asked.body, bytes)
    return Asked(prefixed(spread(asked.body), "openai", known_providers))


def _anthropic_door(integration: str, known_providers: Container[str], speaks: Speaks) -> Door:
    def translate(asked: Asked, request: Request) -> Asked:
        assert isinstance(asked.body, bytes)
        headers = _anthropics(request)
        return Asked(anthropic_request.to_responses(asked.body, known_providers, speaks, headers))

    return Door(
        kind=RESPONSES,
        integration=integration,
        shape=Anthropic,
        translate=translate,
        placeholder=lambda job: anthropic_reply.placeholder(job.id, _model(job)),
    )


def _anthropics(request: Request) -> dict[str, str]:
    """The headers that say which version of Anthropic's API a client means."""
    given = [
        (name.decode(), value.decode("latin-1"))
        for name, value in request.scope["headers"]
        if name in _ANTHROPICS and UNSENDABLE.search(value.decode("latin-1")) is None
    ]
    # A list may come in several headers (RFC 9110, 5.3).
    return {name: ",".join(value for other, value in given if other == name) for name, _ in given}


class Elsewhere:
    """Paths of a door's API that it does not offer, refused in that API's own shape."""

    def __init__(self, doors: FrontDoors, shape: Shape) -> None:
        self._doors = doors
        self._shape = shape

    async def refuse(self, request: Request) -> Response:
        """400, whatever was asked."""
        try:
            await self._doors.admit(request)
        except Refused as error:
            return refused(self._shape, error)
        return failed(self._shape, not_offered(request.argument))


def not_offered(what: str) -> Failure:
    """A part of a door's API that leads nowhere."""
    text = f"{what!r} is not supported on this route"
    return Failure(text, status_code=400, code="unsupported_operation")


class GenAiDoors:
    """`POST …/v1beta/models/{model}:{method}`."""

    def __init__(
        self, doors: FrontDoors, known_providers: Container[str], speaks: Speaks = nobody
    ) -> None:
        self._doors = doors
        self._known_providers = known_providers
        self._speaks = speaks

    async def call(self, request: Request) -> Response | Streamed:
        """What the method at the end of the path asks for."""
        model, _, method = request.argument.rpartition(":")
        door = self._door(model, method, request)
        if door is None:
            try:
                await self._doors.admit(request)
            except Refused as error:
                return refused(GenAi(sse=False), error)
            return failed(GenAi(sse=False), not_offered(method or request.argument))
        return await self._doors.call(door, request)

    def _door(self, model: str, method: str, request: Request) -> Door | None:
        if method in {"generateContent", "streamGenerateContent"}:
            stream = method == "streamGenerateContent"
            sse = b"alt=sse" in request.scope["query_string"].split(b"&")

            def to_chat(body: bytes) -> bytes:
                return genai_request.to_chat(
                    model, body, self._known_providers, stream=stream, speaks=self._speaks
                )

            return self._translated(CHAT_COMPLETION, GenAi(sse=sse), to_chat)
        if method in {"embedContent", "batchEmbedContents"}:
            batch = method == "batchEmbedContents"

            def to_embedding(body: bytes) -> bytes:
                return genai_embedding.to_embedding(model, body, self._known_providers, batch=batch)

            return self._translated(EMBEDDING, GenAiEmbedding(batch=batch), to_embedding)
        return None

    def _translated(self, kind: AnyKind, shape: GenAi, translate: Callable[[bytes], bytes]) -> Door:
        def asked_of(asked: Asked, _: Request) -> Asked:
            if not isinstance(asked.body, bytes):
                raise bad_request("invalid request format: a JSON body is expected")
            return Asked(translate(asked.body))

        return Door(kind=kind, integration="genai", shape=lambda _: shape, translate=asked_of)
