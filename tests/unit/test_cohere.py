"""Cohere's dialect of rerank: what is sent, and what a reply comes to."""

import json
from typing import Any

from hermod.domain.failure import Failure
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, Outgoing
from hermod.providers.cohere import rerank as cohere

RERANK = KIND_BY_TYPE["rerank"]
ASKED: dict[str, Any] = {
    "model": "cohere/rerank-v3.5",
    "query": "Who rides?",
    "documents": [{"text": "Hermod", "id": "a", "meta": {"n": 1.50}}, {"text": "Baldr"}],
}
REPLY: dict[str, Any] = {
    "id": "07734bd2",
    "results": [{"index": 1, "relevance_score": 0.98}, {"index": 0, "relevance_score": 0.1}],
    "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
}


def outgoing(*, forward_unknown: bool = True, **more: Any) -> Outgoing:
    """A request on its way."""
    body = json.dumps(ASKED | more).encode()
    return Outgoing(body, None, "rerank-v3.5", forward_unknown, "")


def sent(*, forward_unknown: bool = True, **more: Any) -> dict[str, Any]:
    """What goes to the upstream."""
    prepared = cohere.build(RERANK, outgoing(forward_unknown=forward_unknown, **more))
    assert prepared.content_type == "application/json"
    return json.loads(prepared.body)


def read(reply: Any, **more: Any) -> Answered | Failure:
    """What a reply comes to."""
    return cohere.read(RERANK, outgoing(**more), "application/json", json.dumps(reply).encode())


def answer(reply: Any, **more: Any) -> dict[str, Any]:
    """The result of a reply that is an answer."""
    found = read(reply, **more)
    assert isinstance(found, Answered)
    return json.loads(found.body)


def test_documents_are_sent_as_texts() -> None:
    assert sent() == {
        "model": "rerank-v3.5",
        "query": "Who rides?",
        "documents": ["Hermod", "Baldr"],
    }


def test_documented_fields_go_along_and_the_gateways_own_do_not() -> None:
    body = sent(
        top_n=1, max_tokens_per_doc=10, priority=3, return_documents=True, fallbacks=["a/b"]
    )
    assert body["top_n"] == 1
    assert body["max_tokens_per_doc"] == 10
    assert body["priority"] == 3
    assert not {"return_documents", "fallbacks"} & body.keys()


def test_unknown_fields_go_along_as_configured() -> None:
    assert sent(rank_fields=["text"])["rank_fields"] == ["text"]
    assert "rank_fields" not in sent(forward_unknown=False, rank_fields=["text"])


def test_results_keep_their_order_and_their_scores() -> None:
    result = answer(REPLY)
    assert result["results"] == REPLY["results"]
    assert result["id"] == "07734bd2"
    assert result["model"] == "rerank-v3.5"
    assert result["usage"]["completion_tokens_details"] == {"num_search_queries": 1}


def test_documents_are_given_back_when_they_were_asked_for() -> None:
    documents = [each["document"] for each in answer(REPLY, return_documents=True)["results"]]
    assert documents == [ASKED["documents"][1], ASKED["documents"][0]]


def test_usage_in_openais_way_is_kept() -> None:
    usage = {"total_tokens": 7}
    assert answer(REPLY | {"usage": usage})["usage"] == usage


def test_a_result_without_a_document_is_no_answer() -> None:
    found = read({"results": [{"index": 2, "relevance_score": 1}]})
    assert isinstance(found, Failure)
    assert found.cause == "there is no document 2"


def test_a_result_that_cannot_be_read_is_no_answer() -> None:
    assert isinstance(read({"results": [{"index": "0"}]}), Failure)
    assert isinstance(read({"results": []}), Failure)
    assert isinstance(read({"message": "invalid api token"}), Failure)
