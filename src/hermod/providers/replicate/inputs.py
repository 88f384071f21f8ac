"""What a request is to a model of Replicate's: names that many models share, as no schema is theirs
all.

After the pages of meta/meta-llama-3-70b-instruct, openai/gpt-4o, anthropic/claude-3.7-sonnet,
black-forest-labs/flux-schnell, flux-1.1-pro and flux-kontext-pro, stability-ai/sdxl and
openai/gpt-image-1.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from hermod.providers.adapter import CannotCarry
from hermod.providers.cargo import Cargo
from hermod.providers.chat_words import limit_of, stops_of
from hermod.providers.lenient import Members, items, members, text

_OPENAI: Final = "openai/"
_SAMPLING: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
_IMAGES: Final = ("aspect_ratio", "background", "negative_prompt", "num_inference_steps", "quality")
_IMAGE_MEMBER: Final[Mapping[str, str]] = {
    "black-forest-labs/flux-pro": "image_prompt",
    "black-forest-labs/flux-1.1-pro": "image_prompt",
    "black-forest-labs/flux-1.1-pro-ultra": "image_prompt",
    "black-forest-labs/flux-1.1-pro-ultra-finetuned": "image_prompt",
    "black-forest-labs/flux-kontext-pro": "input_image",
    "black-forest-labs/flux-kontext-max": "input_image",
    "black-forest-labs/flux-kontext-dev": "input_image",
    "black-forest-labs/flux-dev": "image",
    "black-forest-labs/flux-dev-lora": "image",
    "black-forest-labs/flux-fill-pro": "image",
    "black-forest-labs/flux-krea-dev": "image",
}
"""Where a model takes one picture; the others take several, as `input_images`."""
_pixels: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})").fullmatch
_has_no_system: Final = re.compile(
    r"deepseek-ai/deepseek|meta/meta-llama-3-8b(?:$|:)|meta/llama-2-70b(?:$|:)|openai/o1-mini"
    r"|openai/gpt-oss-20b|xai/grok-4"
).match
"""Models without `system_prompt`."""


class Made(NamedTuple):
    """The inputs, and what of the request needs none."""

    inputs: Members
    usual: dict[str, object]


def chat(cargo: Cargo, model: str) -> Made:
    """A chat for a model that takes one prompt. Raises CannotCarry."""
    system, turns, pictures = _read_turns(items(cargo.take("messages")))
    prompt = _prompt(turns)
    inputs: Members = {}
    if system and _has_no_system(model):
        prompt = f"{system}\n\n{prompt}"
    elif system:
        inputs["system_prompt"] = system
    inputs["prompt"] = prompt
    if pictures:
        inputs["image_input"] = pictures
    _generate(cargo, model, inputs, limit_of(cargo))
    effort = cargo.take("reasoning_effort")
    reasoning = cargo.take("reasoning")
    effort = effort or members(reasoning).get("effort")
    if effort is not None:
        inputs["reasoning_effort"] = effort
    if members(reasoning).get("max_tokens") is not None:
        raise CannotCarry("reasoning.max_tokens: Replicate's models take an effort", "reasoning")
    if members(cargo.take("response_format")).get("type", "text") != "text":
        cargo.lose("response_format", "Replicate's models answer in text")
    cargo.pass_over(("parallel_tool_calls",))  # which tools would be refused
    if not cargo.members.get("tools"):
        cargo.pass_over(("tool_choice",))
    return Made(inputs, {})


def completion(cargo: Cargo, model: str) -> Made:
    """A prompt to go on from. Raises CannotCarry."""
    prompt = cargo.take("prompt")
    several = items(prompt)
    if len(several) > 1:
        raise CannotCarry("prompt: Replicate takes one at a time", "prompt")
    inputs: Members = {"prompt": several[0] if several else text(prompt)}
    _generate(cargo, model, inputs, cargo.take("max_tokens"))
    return Made(inputs, {"best_of": 1})


def _generate(cargo: Cargo, model: str, inputs: Members, limit: float | None) -> None:
    if limit is not None:
        name = "max_completion_tokens" if model.startswith(_OPENAI) else "max_tokens"
        inputs[name] = int(limit)
    for name in _SAMPLING:
        if (value := cargo.take(name)) is not None:
            inputs[name] = value
    if stops := stops_of(cargo):
        if any("," in each for each in stops):
            raise CannotCarry("stop: Replicate parts the sequences by commas", "stop")
        inputs["stop_sequences"] = ",".join(stops)


def _read_turns(given: list[Any]) -> tuple[str, list[tuple[str, str]], list[str]]:
    """What the system says, who said what, and the pictures."""
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    pictures: list[str] = []
    for index, each in enumerate(given):
        message = members(each)
        role = text(message.get("role"))
        said = _text_of(message, index, pictures)
        if role in ("system", "developer"):
            system.append(said)
        elif role in ("user", "assistant") and not message.get("tool_calls"):
            turns.append((role, said))
        else:
            raise CannotCarry(f"messages[{index}]: Replicate's models call no tools", "messages")
    return "\n\n".join(system), turns, pictures


def _text_of(message: Members, index: int, pictures: list[str]) -> str:
    content = message.get("content")
    if isinstance(content, str | None):
        return content or text(message.get("refusal"))
    pieces: list[str] = []
    for each in items(content):
        part = members(each)
        image = part.get("image_url")
        url = text(image) or text(members(image).get("url"))
        if part.get("type") in ("text", "refusal"):
            pieces.append(text(part.get("text")) or text(part.get("refusal")))
        elif part.get("type") == "image_url" and url:
            pictures.append(url)
        else:
            raise CannotCarry(
                f"messages[{index}].content: Replicate takes texts and images only", "messages"
            )
    return "\n".join(pieces)


def _prompt(turns: list[tuple[str, str]]) -> str:
    """One turn is the prompt itself; several are their record, which the model goes on with."""
    if len(turns) == 1:
        return turns[0][1]
    record = [f"{role.capitalize()}: {said}" for role, said in turns]
    if turns and turns[-1][0] == "user":
        record.append("Assistant:")
    return "\n\n".join(record)


def image(cargo: Cargo, model: str) -> Made:
    """A picture by a prompt. Raises CannotCarry."""
    by_openai = model.startswith(_OPENAI)
    inputs: Members = {"prompt": cargo.take("prompt")}
    for name in ("seed", *_IMAGES):
        if (value := cargo.take(name)) is not None:
            inputs[name] = value
    n = cargo.take("n")
    if n is not None and n != 1:
        inputs["number_of_images" if by_openai else "num_outputs"] = int(n)
    size = cargo.take("size")
    if pixels := _pixels(size or ""):
        inputs |= {"width": int(pixels[1]), "height": int(pixels[2])}
    elif size not in (None, "", "auto"):
        raise CannotCarry("size: must be <width>x<height>", "size")
    if (form := cargo.take("output_format")) is not None:
        inputs["output_format"] = "jpg" if form == "jpeg" and not by_openai else form
    if (quality := cargo.take("output_compression")) is not None:
        inputs["output_compression" if by_openai else "output_quality"] = int(quality)
    if by_openai and (moderation := cargo.take("moderation")) is not None:
        inputs["moderation"] = moderation
    if pictures := items(cargo.take("input_images")):
        _picture(model, pictures, inputs)
    return Made(inputs, {"response_format": "url", "moderation": "auto", "partial_images": 0})


def _picture(model: str, pictures: list[Any], inputs: Members) -> None:
    name = _IMAGE_MEMBER.get(model.partition(":")[0])
    if name is None:
        inputs["input_images"] = pictures
    elif len(pictures) > 1:
        raise CannotCarry("input_images: this model takes one", "input_images")
    else:
        inputs[name] = pictures[0]


BY_TYPE: Final[Mapping[str, Callable[[Cargo, str], Made]]] = {
    "chat_completion": chat,
    "text_completion": completion,
    "image_generation": image,
}
