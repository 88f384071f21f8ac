"""`GET /v1/models`, and the lists of the integrations."""

from urllib.parse import parse_qs

import msgspec

from hermod.calls.models import Model, ModelLists
from hermod.domain.failure import Failure
from hermod.doors import genai_reply
from hermod.governance.book import Rules
from hermod.governance.judge import target_refusal
from hermod.http.door_shapes import GenAi
from hermod.http.live_calls import failed
from hermod.http.message import Request, Response
from hermod.http.problems import model_not_found
from hermod.http.reception import Reception


class Models:
    """The handlers of the lists."""

    def __init__(self, reception: Reception, lists: ModelLists, rules: Rules) -> None:
        self._reception = reception
        self._lists = lists
        self._rules = rules

    async def all(self, request: Request) -> Response:
        """`GET /v1/models`: of every provider, or of `?provider=`."""
        asked = parse_qs(request.scope["query_string"].decode("latin-1")).get("provider", [None])
        models = await self._visible(request, asked[0])
        data = [_shown(model) for model in models]
        return Response(200, msgspec.json.encode({"object": "list", "data": data}) + b"\n")

    async def one(self, request: Request) -> Response:
        """`GET /v1/models/{id}`"""
        asked = request.argument
        # OpenAI's clients name its models without a provider.
        names = (asked,) if "/" in asked else (f"openai/{asked}",)
        for model in await self._visible(request):
            if model.id in names:
                return Response(200, msgspec.json.encode(_shown(model)) + b"\n")
        return model_not_found()

    async def genai(self, request: Request) -> Response:
        """`GET /genai/v1beta/models`, in Google's shape."""
        ids = [model.id for model in await self._visible(request)]
        return Response(200, genai_reply.models(ids) + b"\n")

    async def genai_one(self, request: Request) -> Response:
        """`GET /genai/v1beta/models/{id}`"""
        for model in await self._visible(request):
            if model.id == request.argument:
                return Response(200, genai_reply.model(model.id) + b"\n")
        failure = Failure("model not found", status_code=404, code="model_not_found")
        return failed(GenAi(sse=False), failure)

    async def _visible(self, request: Request, provider: str | None = None) -> list[Model]:
        """What who asks may use. Raises Refused."""
        key = (await self._reception.caller(request)).key
        models = await self._lists.models(provider)
        if key is None:
            return list(models)
        return [
            model
            for model in models
            if not target_refusal(
                key, model.provider, model.id.removeprefix(f"{model.provider}/"), self._rules
            )
        ]


def _shown(model: Model) -> dict[str, object]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created_s,
        "owned_by": model.provider,
    }
