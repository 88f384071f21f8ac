"""Every way in, with a good request: native routes, jobs, doors, background."""

import json
from typing import Any, Final, NamedTuple

import httpx

from tests.support.wire import KINDS, PROMPT


class Entrance(NamedTuple):
    """A route and the least that is accepted there."""

    name: str
    path: str
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def is_form(self) -> bool:
        """Whether the body is multipart/form-data."""
        return self.content_type.startswith("multipart/")

    def changed(self, **members: Any) -> bytes:
        """The body of JSON with other members."""
        return json.dumps(json.loads(self.body) | members).encode()

    def with_raw(self, member: str) -> bytes:
        """The body of JSON with a member as it is written here."""
        return self.body.rstrip()[:-1] + b"," + member.encode("utf-8", "surrogatepass") + b"}"

    def ask(self, http: httpx.Client, body: bytes | None = None, **headers: str) -> httpx.Response:
        """The answer to this request, or to another body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.post(
            self.path,
            content=self.body if body is None else body,
            headers={"content-type": self.content_type, **dict(self.headers), **named},
        )

    def raw(self, body: bytes | None = None, *more: bytes) -> bytes:
        """The request as it goes over the wire, with more header lines."""
        body = self.body if body is None else body
        lines = [
            f"POST {self.path} HTTP/1.1",
            "Host: localhost",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return b"\r\n".join([*(line.encode() for line in lines), *more, b"", body])


def entrances(model: str = "mock/hello") -> tuple[Entrance, ...]:
    """All of them, for this model; each door at another of its places."""
    prefixes = ("/openai/v1", "/litellm", "/openai", "/langchain/openai/v1", "/pydanticai/v1")
    found: list[Entrance] = []
    for number, kind in enumerate(KINDS):
        body, content_type = kind.encoded(model)
        found.append(Entrance(f"call {kind.path}", f"/v1/{kind.path}", body, content_type))
        found.append(Entrance(f"job {kind.path}", f"/v1/async/{kind.path}", body, content_type))
        if kind.request_type not in {"rerank", "ocr"}:
            path = f"{prefixes[number % len(prefixes)]}/{kind.path}"
            found.append(Entrance(f"openai {kind.path}", path, body, content_type))
    chat = next(each for each in found if each.path == "/v1/chat/completions")
    responses = next(each for each in found if each.path == "/v1/responses")
    message = {"role": "user", "content": PROMPT}
    asked = {"model": model, "max_tokens": 64, "messages": [message]}
    content = {"role": "user", "parts": [{"text": PROMPT}]}
    genai = {
        "generateContent": {"contents": [content]},
        "streamGenerateContent": {"contents": [content]},
        "embedContent": {"content": content},
        "batchEmbedContents": {"requests": [{"content": content}]},
    }
    roots = ("/genai/v1beta", "/litellm/genai/v1", "/langchain/v1beta", "/pydanticai/genai/v1beta")
    return (
        *found,
        chat._replace(name="job of openai", path="/openai/v1/chat/completions", headers=_ASYNC),
        responses._replace(
            name="background", body=responses.changed(background=True), path="/v1/responses"
        ),
        Entrance("anthropic", "/anthropic/v1/messages", json.dumps(asked).encode()),
        Entrance(
            "job of anthropic", "/litellm/v1/messages", json.dumps(asked).encode(), headers=_ASYNC
        ),
        *(
            Entrance(action, f"{root}/models/{model}:{action}", json.dumps(body).encode())
            for root, (action, body) in zip(roots, genai.items(), strict=True)
        ),
    )


_ASYNC: Final = (("x-bf-async", "true"),)


def message_of(response: httpx.Response) -> str:
    """What an error says, in whatever shape its door has."""
    whole = response.json()
    assert response.headers["content-type"] == "application/json"
    message: str = whole["error"]["message"]
    assert message
    return message
