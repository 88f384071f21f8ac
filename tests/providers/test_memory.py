"""What translates is gone with its call: in a cycle it would keep a whole request or answer in
memory until the collector comes, which is seldom."""

import gc
import json
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Outgoing
from hermod.providers.adapters import way_of
from tests.faults.family_streams import STREAMS
from tests.providers.recorded import settings_of

ASKED: Mapping[str, Any] = {
    "chat_completion": {"messages": [{"role": "user", "content": "Who?"}]},
    "responses": {"input": "Who?"},
    "text_completion": {"prompt": "Who?"},
}
VERTEX = '{"vertex_key_config": {"project_id": "p"}}'
HALF_OR_WHOLE = pytest.mark.parametrize("share", [0.5, 1.0])


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.disable()
    gc.freeze()  # what was there before is nobody's business, and slow to look at
    yield
    gc.unfreeze()
    gc.enable()


@HALF_OR_WHOLE
@pytest.mark.parametrize("provider", STREAMS)
@pytest.mark.parametrize("request_type", ASKED)
def test_a_translator_is_in_no_cycle(provider: str, request_type: str, share: float) -> None:
    settings, told = settings_of(provider), STREAMS[provider]
    way = way_of(settings, request_type, text_to_chat=True, chat_to_responses=False)
    assert way is not None
    if way.dialect.open_stream is None:
        return  # OpenAI's own form, which is passed on
    body = json.dumps({"model": "p/m", **ASKED[request_type]}).encode()
    outgoing = Outgoing(body, None, told.model, True, "", settings, stream=True, now_s=1)
    stream = way.dialect.open_stream(KIND_BY_TYPE[request_type], outgoing)
    gone = weakref.ref(stream)
    data = b"".join(told.events)
    stream.feed(data[: int(len(data) * share)])
    stream.end()
    del stream
    assert gone() is None


@pytest.mark.parametrize("provider", STREAMS)
@pytest.mark.parametrize("request_type", ASKED)
def test_a_request_leaves_no_cycle(provider: str, request_type: str) -> None:
    settings = settings_of(provider, VERTEX) if provider == "vertex" else settings_of(provider)
    way = way_of(settings, request_type, text_to_chat=True, chat_to_responses=False)
    assert way is not None
    body = json.dumps({"model": "p/m", **ASKED[request_type]}).encode()
    key = settings.keys[0]
    model = STREAMS[provider].model
    outgoing = Outgoing(body, None, model, True, "", settings, key, now_s=1)
    kind = KIND_BY_TYPE[request_type]
    way.dialect.build(kind, outgoing)
    gc.collect()
    way.dialect.build(kind, outgoing)
    assert gc.collect() == 0
