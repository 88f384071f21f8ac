"""Replicate's dialect: every call makes a prediction, which is asked for until it has ended.

Format: Replicate's HTTP API reference, "Create a prediction" (of a model, of a version, of a
deployment), "Get a prediction", "Cancel a prediction", and its guide "Prediction lifecycle". Each
model has its own inputs; the names used here are those that its language and image models share
(`replicate_inputs`), and extras go along as inputs.

A model is `owner/name` (an official one), `owner/name:version`, a version's id, or
`deployments/owner/name`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds.kind import AnyKind
from hermod.providers import replies
from hermod.providers.adapter import Answered, CannotCarry, Dialect, Outgoing, Prepared
from hermod.providers.cargo import Cargo
from hermod.providers.lenient import count, items, members, number, text
from hermod.providers.pending import Asking, Pending, Polling
from hermod.providers.replicate import inputs as replicate_inputs

_WAIT_S: Final = 60
"""The longest that a request may wait for its prediction."""
_ASK_AFTER_S: Final = 2.0
_GOING_ON: Final = frozenset({"starting", "processing", "queued"})
_ENDED_WELL: Final = frozenset({"succeeded", "successful"})
_is_id: Final = re.compile(r"[A-Za-z0-9]{1,64}").fullmatch
_is_version: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_is_model: Final = re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
"""An owner or a name: no path leads through it."""


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    cargo = Cargo(kind, outgoing)
    made = replicate_inputs.BY_TYPE[kind.request_type](cargo, outgoing.model)
    path, sent = _place(outgoing.model)
    sent["input"] = {**made.inputs, **cargo.unknown()}
    return Prepared(
        "application/json",
        msgspec.json.encode(sent),
        path,
        (("Prefer", f"wait={_WAIT_S}"),),
        cargo.finish(made.usual),
    )


def _place(model: str) -> tuple[str, dict[str, object]]:
    """Where predictions of this model are made, and what of it the body says."""
    if _is_version(model):
        return "/v1/predictions", {"version": model}
    of_deployment = model.startswith("deployments/")
    owner, _, rest = model.removeprefix("deployments/").partition("/")
    name, _, version = rest.partition(":")
    if not _is_model(owner) or not _is_model(name) or (version and not _is_id(version)):
        raise CannotCarry(
            "model: must be owner/name, owner/name:version, a version's id or "
            "deployments/owner/name",
            "model",
        )
    if of_deployment:
        return f"/v1/deployments/{owner}/{name}/predictions", {}
    if version:
        return "/v1/predictions", {"version": version}
    return f"/v1/models/{owner}/{name}/predictions", {}


def read(
    kind: AnyKind, outgoing: Outgoing, content_type: str | None, body: bytes
) -> Answered | Failure:
    """See `Dialect.read`, of a prediction that has ended."""
    told = replies.object_in(content_type, body)
    if isinstance(told, Failure):
        return told  # a prediction that failed says so under `error`
    status = text(told.get("status"))
    if status in _GOING_ON:
        return replies.invalid("the prediction has not ended", f"`status` is {status}")
    if status not in _ENDED_WELL:
        return _failed(status, told)
    output = told.get("output")
    if kind.request_type == "image_generation":
        made = _images(output)
        if not made:
            return replies.invalid(replies.UNREADABLE, "`output` has no images")
        answer: dict[str, object] = {"created": outgoing.now_s, "data": made}
    else:
        said = _said(output)
        if said is None:
            return replies.invalid(replies.UNREADABLE, "`output` is no text")
        answer = _spoken(kind, outgoing, text(told.get("id")), said)
    shown, usage = _usage(members(told.get("metrics")))
    if shown is not None and kind.request_type != "image_generation":
        answer["usage"] = shown
    return Answered(msgspec.json.encode(answer), usage=usage)


def _failed(status: str, told: Mapping[str, Any]) -> Failure:
    said = text(told.get("error")) or text(told.get("detail"))
    if not status:
        return replies.invalid(replies.UNREADABLE, said or "`status` is missing")
    return Failure(
        said or f"the prediction ended as {status}", error_type="prediction_error", code=status
    )


def _spoken(kind: AnyKind, outgoing: Outgoing, name: str, said: str) -> dict[str, object]:
    of_chat = kind.request_type == "chat_completion"
    message = {"role": "assistant", "content": said, "refusal": None}
    choice: dict[str, object] = {"message": message} if of_chat else {"text": said}
    return {
        "id": name,
        "object": "chat.completion" if of_chat else "text_completion",
        "created": outgoing.now_s,
        "model": outgoing.model,
        "choices": [{"index": 0, **choice, "logprobs": None, "finish_reason": "stop"}],
    }


def _said(output: object) -> str | None:
    """A text, its pieces, or an object with it."""
    if isinstance(output, str):
        return output
    pieces = items(output)
    if pieces and all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    found = members(output)
    said = found.get("text", found.get("output"))
    return said if isinstance(said, str) else None


def _images(output: object) -> list[dict[str, object]]:
    """An address, several, or the images themselves as data URLs."""
    found = members(output)
    output = found.get("images", found.get("image", found.get("output"))) if found else output
    made: list[dict[str, object]] = []
    for each in items(output) or [output]:
        url = text(each) or text(members(each).get("url"))
        if url.startswith("data:"):
            made.append({"b64_json": url.partition(",")[2]})
        elif url:
            made.append({"url": url})
    return made


def _usage(metrics: Mapping[str, Any]) -> tuple[dict[str, object] | None, Usage | None]:
    told = [metrics.get("input_token_count"), metrics.get("output_token_count")]
    if all(number(value) is None for value in told):
        return None, None
    asked, answered = map(count, told)
    shown: dict[str, object] = {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }
    return shown, Usage(asked, answered)


def _pending(content_type: str | None, body: bytes) -> Pending | None:
    """See `Polling.pending`. A prediction without a sound id cannot be asked for."""
    told = replies.object_in(content_type, body)
    if isinstance(told, Failure) or text(told.get("status")) not in _GOING_ON:
        return None
    handle = text(told.get("id"))
    return Pending(handle, _ASK_AFTER_S) if _is_id(handle) else None


def _ask(handle: str) -> Asking:
    return Asking("GET", f"/v1/predictions/{handle}")


def _cancel(handle: str) -> Asking:
    return Asking("POST", f"/v1/predictions/{handle}/cancel")


DIALECT: Final = Dialect("replicate", build, read, polling=Polling(_pending, _ask, _cancel))
"""Predictions of language and image models. The handle is the prediction's id."""
