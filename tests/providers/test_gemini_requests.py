"""What chat requests become for Gemini, beyond the recorded examples."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.errors import Refused
from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.kinds.embedding import EMBEDDING
from hermod.kinds.image_generation import IMAGE_GENERATION
from hermod.kinds.kind import JsonKind
from hermod.kinds.speech import SPEECH
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.gemini import dialect as gemini
from hermod.providers.gemini import vertex
from hermod.providers.gemini.messages import FORMAT
from tests.providers.recorded import key_of, settings_of

HELLO = [{"role": "user", "content": "Hello?"}]


def outgoing(model: str = "gemini-3.8-flash", **asked: Any) -> Outgoing:
    body = json.dumps({"model": f"gemini/{model}", **asked}).encode()
    return Outgoing(body, None, model, True, "", settings_of("gemini"))


def sent(model: str = "gemini-3.8-flash", **asked: Any) -> dict[str, Any]:
    built = gemini.build(CHAT_COMPLETION, outgoing(model, **{"messages": HELLO, **asked}))
    return json.loads(built.body)


def config(model: str = "gemini-3.8-flash", **asked: Any) -> dict[str, Any]:
    return sent(model, **asked).get("generationConfig", {})


def refused(**asked: Any) -> CannotCarry:
    with pytest.raises(CannotCarry) as caught:
        sent(**asked)
    return caught.value


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3.8-flash", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.8-pro", "none", {"thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-3.8-flash", "xhigh", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-4-pro", "xhigh", {"thinkingLevel": "XHIGH", "includeThoughts": True}),
        ("gemini-flash-latest", "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
    ],
)
def test_efforts_become_budgets_for_older_models_and_levels_for_newer(
    model: str, effort: str, thinking: dict[str, Any]
) -> None:
    assert config(model, reasoning_effort=effort) == {"thinkingConfig": thinking}
    assert config(model, reasoning={"effort": effort}) == {"thinkingConfig": thinking}


def test_a_budget_is_a_budget_for_every_model() -> None:
    for model in ("gemini-2.5-pro", "gemini-3.8-pro"):
        assert config(model, reasoning={"max_tokens": 500}) == {
            "thinkingConfig": {"thinkingBudget": 500, "includeThoughts": True}
        }


def test_thoughts_can_be_kept_out_of_the_answer() -> None:
    asked = {"effort": "high", "exclude": True}
    assert config(reasoning=asked) == {"thinkingConfig": {"thinkingLevel": "HIGH"}}


def test_without_a_word_on_reasoning_the_model_decides() -> None:
    assert config() == {}


def test_an_effort_that_nobody_knows_is_refused() -> None:
    assert refused(reasoning_effort="extreme").param == "reasoning_effort"


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        ("none", {"mode": "NONE"}),
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "f"}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            },
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tool_choices(choice: object, calling: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = sent(tools=tools, tool_choice=choice)
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    assert body["toolConfig"] == {"functionCallingConfig": calling}


def test_googles_own_tools_go_along_in_either_spelling() -> None:
    tools = [{"googleSearch": {}}, {"url_context": {}}, {"type": "code_execution"}]
    body = sent(tools=tools)
    assert body["tools"] == [{"googleSearch": {}}, {"urlContext": {}}, {"codeExecution": {}}]


def test_googles_own_members_go_to_their_places_and_strange_ones_nowhere() -> None:
    body = sent(
        cached_content="cachedContents/c",
        extra_body={"google": {"thinking_config": {"thinking_level": "low"}}},
        topK=3,
        chat_template_kwargs={},
    )
    assert body["cachedContent"] == "cachedContents/c"
    assert body["generationConfig"] == {"thinkingConfig": {"thinking_level": "low"}, "topK": 3}
    assert body.keys() == {"contents", "cachedContent", "generationConfig"}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": [{"role": "assistant"}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0]"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]},
            "messages[0].tool_call_id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
            "messages[0].content[0]",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}],
                    }
                ]
            },
            "messages[0].content[0].image_url",
        ),
        ({"modalities": ["text", "audio"], "audio": {"voice": "v", "format": "mp3"}}, "audio"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(asked: dict[str, Any], param: str) -> None:
    assert refused(**asked).param == param


def test_what_cannot_be_carried_is_dropped_where_the_operator_says_so() -> None:
    asked = outgoing(messages=HELLO, logit_bias={"1": 5})._replace(drop_unsupported=True)
    assert gemini.build(CHAT_COMPLETION, asked).dropped == ("logit_bias",)


def test_instructions_alone_become_what_is_said() -> None:
    body = sent(messages=[{"role": "system", "content": "Say hello."}])
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}


def test_signatures_come_back_from_the_details_too() -> None:
    message = {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}],
        "reasoning_details": [
            {"type": "reasoning.encrypted", "format": FORMAT, "data": "of the text"},
            {"type": "reasoning.encrypted", "format": FORMAT, "id": "c", "data": "of the call"},
            {"type": "reasoning.text", "text": "…", "signature": "another vendor's"},
        ],
    }
    [content] = sent(messages=[message])["contents"]
    assert content["parts"] == [
        {"text": "Let me see.", "thoughtSignature": "of the text"},
        {
            "functionCall": {"name": "f", "args": {}, "id": "c"},
            "thoughtSignature": "of the call",
        },
    ]


def test_older_models_get_no_signature_that_they_never_gave() -> None:
    message = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
    [content] = sent("gemini-2.5-pro", messages=[message])["contents"]
    assert "thoughtSignature" not in content["parts"][0]


def test_arguments_that_are_no_object_stay_readable() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": "{broken"}}
    [content] = sent(messages=[{"role": "assistant", "tool_calls": [call]}])["contents"]
    assert content["parts"][0]["functionCall"]["args"] == {"INVALID_JSON": "{broken"}


@pytest.mark.parametrize(
    ("asked", "shape"),
    [
        ({"size": "1024x1024"}, {"aspectRatio": "1:1"}),
        ({"size": "1792x1024"}, {"aspectRatio": "16:9"}),
        ({"size": "1024x1792"}, {"aspectRatio": "9:16"}),
        ({"size": "auto"}, None),
        ({"aspect_ratio": "21:9"}, {"aspectRatio": "21:9"}),
        ({"size": "2048x2048"}, {"aspectRatio": "1:1", "imageSize": "2K"}),
    ],
)
def test_sizes_become_shapes(asked: dict[str, Any], shape: dict[str, Any] | None) -> None:
    built = gemini.build(IMAGE_GENERATION, outgoing("gemini-3-image", prompt="A boat", **asked))
    assert json.loads(built.body)["generationConfig"].get("imageConfig") == shape


@pytest.mark.parametrize("size", ["100x500", "9999x9999", "big", "00x00"])
def test_sizes_that_cannot_be_made_are_refused(size: str) -> None:
    with pytest.raises(CannotCarry) as caught:
        gemini.build(IMAGE_GENERATION, outgoing("gemini-3-image", prompt="A boat", size=size))
    assert caught.value.param == "size"


def test_speech_is_made_as_wav_and_pcm_only() -> None:
    asked = outgoing("gemini-tts", input="Hi", voice="Kore", response_format="mp3")
    with pytest.raises(CannotCarry) as caught:
        gemini.build(SPEECH, asked)
    assert caught.value.param == "response_format"
    dropped = gemini.build(SPEECH, asked._replace(drop_unsupported=True)).dropped
    assert dropped == ("response_format",)


def test_tokens_are_no_input_for_embeddings() -> None:
    with pytest.raises(CannotCarry) as caught:
        gemini.build(EMBEDDING, outgoing("gemini-embedding-2", input=[1, 2]))
    assert caught.value.param == "input"


def test_a_tuned_model_keeps_its_whole_name() -> None:
    built = gemini.build(CHAT_COMPLETION, outgoing("tunedModels/mine", messages=HELLO))
    assert built.path == "/v1beta/tunedModels/mine:generateContent"


MEMBERS = sorted(
    {"type", "text", "image_url", "url", "input_audio", "data", "file", "file_data", "function"}
    | {"name", "arguments", "id", "tool_calls", "role", "content", "reasoning_details", "format"}
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = [
    (
        CHAT_COMPLETION,
        ["messages", "tools", "tool_choice", "stop", "response_format", "audio", "n"],
    ),
    (EMBEDDING, ["input", "dimensions", "encoding_format"]),
    (IMAGE_GENERATION, ["prompt", "size", "n", "seed", "input_images", "output_format"]),
    (SPEECH, ["input", "voice", "response_format", "language_code"]),
]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), of_kind=st.sampled_from(KINDS))
def test_building_raises_nothing_but_that_it_cannot(
    data: st.DataObject, of_kind: tuple[JsonKind, list[str]]
) -> None:
    kind, members = of_kind
    asked = data.draw(st.dictionaries(st.sampled_from(members), JSON, max_size=4))
    if kind is CHAT_COMPLETION and data.draw(st.booleans()):
        asked["messages"] = [
            {**message, "role": data.draw(st.sampled_from(["user", "assistant", "tool"]))}
            for message in data.draw(
                st.lists(st.dictionaries(st.sampled_from(["content", "tool_calls"]), JSON))
            )
        ]
    body = json.dumps({"model": "gemini/gemini-3", **asked}).encode("utf-8", "surrogatepass")
    try:
        kind.check(body, {"gemini"})
    except Refused:
        return
    for dialect, name in ((gemini.DIALECT, "gemini"), (vertex.DIALECT, "vertex")):
        key = key_of(name, vertex_key_config={"project_id": "p"})
        asked_of = Outgoing(body, None, "gemini-3", True, "", settings_of(name), key)
        with suppress(CannotCarry):
            json.loads(dialect.build(kind, asked_of).body)
