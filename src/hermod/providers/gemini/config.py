"""What a request asks for beside its messages, as Gemini's `generationConfig`, `tools` and
`toolConfig` (Gemini API reference, `GenerationConfig`, "Function calling", "Thinking")."""

from typing import Final

from hermod.providers.adapter import CannotCarry
from hermod.providers.cargo import Cargo
from hermod.providers.chat_words import (
    Choice,
    choice_of,
    function_of,
    limit_of,
    must_be_known,
    reasoning_of,
    stops_of,
)
from hermod.providers.gemini.messages import is_older
from hermod.providers.lenient import Members, items, members, number, text

_NUMBERS: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_BUDGETS: Final = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 24576,
    "max": 24576,
}
"""Tokens, as Google's own endpoint for OpenAI's clients understands efforts."""
_LEAST_OF_PRO: Final = 128
"""Gemini 2.5 Pro cannot be kept from thinking."""
_LEVELS: Final = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_JSON: Final = "application/json"
_TOOLS: Final = {
    "google_search": "googleSearch",
    "google_search_retrieval": "googleSearchRetrieval",
    "url_context": "urlContext",
    "code_execution": "codeExecution",
    "google_maps": "googleMaps",
    "file_search": "fileSearch",
    "computer_use": "computerUse",
    "enterprise_web_search": "enterpriseWebSearch",
    "retrieval": "retrieval",
}
"""Google's own, in either spelling."""
_OWN_TOOLS: Final = _TOOLS | {name: name for name in _TOOLS.values()}
_OUTER: Final = {
    "safety_settings": "safetySettings",
    "cached_content": "cachedContent",
    "labels": "labels",
    "tool_config": "toolConfig",
    "model_armor_config": "modelArmorConfig",
}
_INNER: Final = {
    "top_k": "topK",
    "media_resolution": "mediaResolution",
    "image_config": "imageConfig",
    "speech_config": "speechConfig",
    "thinking_config": "thinkingConfig",
    "response_modalities": "responseModalities",
    "response_mime_type": "responseMimeType",
    "response_schema": "responseSchema",
    "response_json_schema": "responseJsonSchema",
    "audio_timestamp": "audioTimestamp",
    "enable_enhanced_civic_answers": "enableEnhancedCivicAnswers",
}
"""Google's own members that OpenAI's API has no word for, in either spelling. What is in neither
table is no word of Google's either, and would be refused."""


def add_config(cargo: Cargo, model: str, out: Members) -> None:
    """Put everything but the messages into `out`, a `GenerateContentRequest`.

    Raises:
        CannotCarry: a value that has no counterpart; names the field.
    """
    config: Members = {}
    for name, theirs in _NUMBERS.items():
        if (value := cargo.take(name)) is not None:
            config[theirs] = value
    if (seed := cargo.take("seed")) is not None:
        config["seed"] = int(seed)
    if (limit := limit_of(cargo)) is not None:
        config["maxOutputTokens"] = limit
    if stops := stops_of(cargo):
        config["stopSequences"] = stops
    wanted = number(cargo.take("n"))
    if wanted is not None and wanted != 1:
        config["candidateCount"] = int(wanted)
    others = cargo.take("top_logprobs")
    if cargo.take("logprobs"):
        config |= {"responseLogprobs": True} | ({} if others is None else {"logprobs": int(others)})
    _add_modalities(cargo, config)
    _add_format(cargo, config)
    thinking = _thinking(cargo, model)
    if thinking:
        config["thinkingConfig"] = thinking
    _add_tools(cargo, out)
    add_own(cargo, out, config)
    if config:
        out["generationConfig"] = config


def add_own(cargo: Cargo, out: Members, config: Members) -> None:
    """Add Google's own members, which win over what was translated."""
    given = cargo.unknown()
    # How OpenAI's clients give them to Google's own endpoint: `extra_body.google`.
    given |= members(members(given.get("extra_body")).get("google"))
    given |= members(given.get("google"))
    for own, place in ((_OUTER, out), (_INNER, config)):
        for ours, theirs in own.items():
            for name in (ours, theirs):
                if given.get(name) is not None:
                    place[theirs] = given[name]


def _add_modalities(cargo: Cargo, config: Members) -> None:
    wanted = [text(each).upper() for each in items(cargo.take("modalities"))]
    if wanted and wanted != ["TEXT"]:
        # A model that speaks has its words in the sound alone.
        config["responseModalities"] = ["AUDIO"] if "AUDIO" in wanted else wanted
    audio = members(cargo.take("audio"))
    if "AUDIO" in wanted and text(audio.get("voice")):
        config["speechConfig"] = voice_config(audio["voice"])
    spoken = text(audio.get("format"))
    if "AUDIO" in wanted and spoken not in {"", "wav", "pcm16"}:
        raise CannotCarry("audio.format: only wav and pcm16 are supported", "audio")


def voice_config(voice: str) -> Members:
    """A `speechConfig` with one speaker."""
    return {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}


def _add_format(cargo: Cargo, config: Members) -> None:
    wanted = members(cargo.take("response_format"))
    match wanted.get("type"):
        case None | "text":
            return
        case "json_object":
            config["responseMimeType"] = _JSON
        case "json_schema":
            config["responseMimeType"] = _JSON
            schema = members(wanted.get("json_schema")).get("schema")
            if schema is not None:
                config["responseJsonSchema"] = schema
        case _:
            cargo.lose("response_format", "Gemini gives text or JSON")


def _thinking(cargo: Cargo, model: str) -> Members:
    asked = reasoning_of(cargo)
    if asked.effort is None and asked.budget is None:
        return {"includeThoughts": True} if asked.is_wanted and not asked.is_hidden else {}
    must_be_known(asked.effort)
    effort, budget = asked.effort or "", asked.budget
    config: Members
    if budget is not None:
        config = {"thinkingBudget": budget}
    elif is_older(model):
        least = _LEAST_OF_PRO if "pro" in model else 0
        config = {"thinkingBudget": max(_BUDGETS[effort], least)}
    else:
        config = {"thinkingLevel": _level(effort, model)}
    is_off = effort == "none" if budget is None else budget == 0
    if not is_off and not asked.is_hidden:
        config["includeThoughts"] = True
    return config


def _level(effort: str, model: str) -> str:
    """The nearest that the model knows: none can be kept from thinking."""
    level = _LEVELS[effort]
    if level == "MINIMAL" and "pro" in model:
        return "LOW"
    return "HIGH" if level == "XHIGH" and "gemini-3" in model else level


def _add_tools(cargo: Cargo, out: Members) -> None:
    declared: list[Members] = []
    tools: list[Members] = []
    for index, tool in enumerate(items(cargo.take("tools"))):
        fields = members(tool)
        if fields.get("type") == "function" or "function" in fields:
            declared.append(_function(function_of(tool, f"tools[{index}]")))
            continue
        own = {theirs: fields[name] for name, theirs in _OWN_TOOLS.items() if name in fields}
        named = _OWN_TOOLS.get(text(fields.get("type")))
        if named and not own:
            own[named] = {}
        if not own:
            place = f"tools[{index}]"
            raise CannotCarry(f"{place}: tools of this type are not supported", place)
        tools.append(own)
    if cargo.take("web_search_options") is not None:
        tools.append({"googleSearch": {}})
    if declared:
        tools.insert(0, {"functionDeclarations": declared})
    if tools:
        out["tools"] = tools
    choice = choice_of(cargo.take("tool_choice"), {each["name"] for each in declared})
    if choice is not None and declared:
        out["toolConfig"] = {"functionCallingConfig": _calling(choice)}
    if cargo.take("parallel_tool_calls") is False and declared:
        cargo.lose("parallel_tool_calls", "Gemini has no word for one call at a time")


def _function(function: Members) -> Members:
    declared: Members = {"name": function["name"]}
    if text(function.get("description")):
        declared["description"] = function["description"]
    if members(function.get("parameters")):
        # Takes JSON Schema as it is; `parameters` only knows a part of OpenAPI's.
        declared["parametersJsonSchema"] = function["parameters"]
    return declared


def _calling(choice: Choice) -> Members:
    if not choice.names:
        return {"mode": _MODES[choice.mode]}
    # VALIDATED may answer in words too, and it alone of those two takes names.
    mode = "ANY" if choice.mode == "required" else "VALIDATED"
    return {"mode": mode, "allowedFunctionNames": list(choice.names)}
