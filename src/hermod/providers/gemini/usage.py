"""What Google says of tokens (Gemini API reference, `UsageMetadata`)."""

from hermod.domain.usage import Usage
from hermod.providers.lenient import Members, count, items, members, text


def usage_in(reply: Members) -> Usage | None:
    """The usage of a reply, None where it tells none.

    Thoughts are counted beside the candidates, and are output; what Google's tools read is input.
    """
    told = members(reply.get("usageMetadata"))
    if not told:
        return None
    asked = count(told.get("promptTokenCount"))
    said = count(told.get("candidatesTokenCount"))
    thought = count(told.get("thoughtsTokenCount"))
    # Some versions count the thoughts among the candidates: then the total gives them away.
    within = thought and thought <= said and count(told.get("totalTokenCount")) == asked + said
    return Usage(
        input_tokens=asked + count(told.get("toolUsePromptTokenCount")),
        output_tokens=said if within else said + thought,
        cache_read_tokens=count(told.get("cachedContentTokenCount")),
        reasoning_tokens=thought,
        input_audio_tokens=_of("AUDIO", told.get("promptTokensDetails")),
        output_audio_tokens=_of("AUDIO", told.get("candidatesTokensDetails")),
        input_image_tokens=_of("IMAGE", told.get("promptTokensDetails")),
        output_image_tokens=_of("IMAGE", told.get("candidatesTokensDetails")),
    )


def _of(modality: str, details: object) -> int:
    found = (members(each) for each in items(details))
    return sum(
        count(each.get("tokenCount")) for each in found if text(each.get("modality")) == modality
    )


def chat_usage(usage: Usage) -> Members:
    """`usage` of a chat completion."""
    read: Members = {"cached_tokens": usage.cache_read_tokens}
    if usage.input_audio_tokens:
        read["audio_tokens"] = usage.input_audio_tokens
    written: Members = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.output_audio_tokens:
        written["audio_tokens"] = usage.output_audio_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": read,
        "completion_tokens_details": written,
    }


def token_usage(usage: Usage) -> Members:
    """`usage` of images, speech and transcriptions."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def details_of_input(reply: Members, modality: str) -> Members:
    """Text and one other modality of the input, in OpenAI's words."""
    details = members(reply.get("usageMetadata")).get("promptTokensDetails")
    return {
        "text_tokens": _of("TEXT", details),
        f"{modality}_tokens": _of(modality.upper(), details),
    }
