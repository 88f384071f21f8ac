"""What a request asks for beside its messages, as Gemini's `generationConfig`, `tools` and
`toolConfig` (Gemini API reference, `GenerationConfig`, "Function calling", "Thinking")."""

from typing import Any, Final

from hermod.providers.adapter import CannotCarry
from hermod.providers.cargo import Cargo
from hermod.providers.gemini_messages import is_older
from hermod.providers.lenient import items, members, number, text

Members = dict[str, Any]

_NUMBERS: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_INTEGERS: Final = {"seed": "seed", "top_logprobs": "logprobs"}
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
    for name, theirs in _INTEGERS.items():
        if (value := cargo.take(name)) is not None:
            config[theirs] = int(value)
    least, most = cargo.take("max_tokens"), cargo.take("max_completion_tokens")
    if (limit := most if most is not None else least) is not None:
        config["maxOutputTokens"] = int(limit)
    stop = cargo.take("stop")
    if stop:
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    wanted = number(cargo.take("n"))
    if wanted is not None and wanted != 1:
        config["candidateCount"] = int(wanted)
    if cargo.take("logprobs"):
        config["responseLogprobs"] = True
    _add_modalities(cargo, config)
    _add_format(members(cargo.take("response_format")), config)
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


def _add_format(wanted: Members, config: Members) -> None:
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
            raise CannotCarry("response_format: this type is not supported", "response_format")


def _thinking(cargo: Cargo, model: str) -> Members:
    reasoning = members(cargo.take("reasoning"))
    effort = text(cargo.take("reasoning_effort") or reasoning.get("effort"))
    budget = cargo.take("reasoning_max_tokens")
    budget = number(reasoning.get("max_tokens") if budget is None else budget)
    if not effort and reasoning.get("enabled") is False:
        effort = "none"
    if not effort and budget is None:
        return {"includeThoughts": True} if reasoning.get("enabled") is True else {}
    if effort and effort not in _LEVELS:
        raise CannotCarry("reasoning_effort: not one of " + ", ".join(_LEVELS), "reasoning_effort")
    config: Members
    if budget is not None:
        config = {"thinkingBudget": int(budget)}
    elif is_older(model):
        least = _LEAST_OF_PRO if "pro" in model else 0
        config = {"thinkingBudget": max(_BUDGETS[effort], least)}
    else:
        config = {"thinkingLevel": _level(effort, model)}
    is_off = effort == "none" if budget is None else budget == 0
    if not is_off and reasoning.get("exclude") is not True:
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
            declared.append(_function(members(fields.get("function")), f"tools[{index}]"))
            continue
        own = {theirs: fields[name] for name, theirs in _OWN_TOOLS.items() if name in fields}
        named = _OWN_TOOLS.get(text(fields.get("type")))
        if named and not own:
            own[named] = {}
        if not own:
            raise CannotCarry(f"tools[{index}]: tools of this type are not supported", "tools")
        tools.append(own)
    if cargo.take("web_search_options") is not None:
        tools.append({"googleSearch": {}})
    if declared:
        tools.insert(0, {"functionDeclarations": declared})
    if tools:
        out["tools"] = tools
    choice = cargo.take("tool_choice")
    if declared and choice is not None:
        out["toolConfig"] = {"functionCallingConfig": _calling(choice)}
    elif choice not in (None, "auto", "none"):
        raise CannotCarry("tool_choice: there are no functions to choose from", "tool_choice")


def _function(function: Members, where: str) -> Members:
    name = text(function.get("name"))
    if not name:
        raise CannotCarry(f"{where}: a function needs a name", "tools")
    declared: Members = {"name": name}
    if text(function.get("description")):
        declared["description"] = function["description"]
    if members(function.get("parameters")):
        # Takes JSON Schema as it is; `parameters` only knows a part of OpenAPI's.
        declared["parametersJsonSchema"] = function["parameters"]
    return declared


def _calling(choice: object) -> Members:
    match choice:
        case "none":
            return {"mode": "NONE"}
        case "auto":
            return {"mode": "AUTO"}
        case "required" | "any":
            return {"mode": "ANY"}
        case _:
            return _chosen(members(choice))


def _chosen(choice: Members) -> Members:
    match choice.get("type"):
        case "function" | None:
            name = text(members(choice.get("function")).get("name")) or text(choice.get("name"))
            if name:
                return {"mode": "ANY", "allowedFunctionNames": [name]}
        case "allowed_tools":
            allowed = members(choice.get("allowed_tools")) or choice
            named = [members(each) for each in items(allowed.get("tools"))]
            names = [
                text(members(each.get("function")).get("name")) or text(each.get("name"))
                for each in named
            ]
            # VALIDATED may answer in words too, and it alone of those two takes names.
            mode = "ANY" if allowed.get("mode") == "required" else "VALIDATED"
            if names and all(names):
                return {"mode": mode, "allowedFunctionNames": names}
        case "none" | "auto" | "any" | "required" as plain:
            return _calling(plain)
        case _:
            pass
    raise CannotCarry("tool_choice: expected a function's name, or names of tools", "tool_choice")
