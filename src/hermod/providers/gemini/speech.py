"""Speech and transcriptions through Gemini's models (Gemini API, "Speech generation",
"Audio understanding")."""

from base64 import b64encode
from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.outcome import Native
from hermod.kinds.kind import AnyKind
from hermod.providers import replies
from hermod.providers.adapter import Answered, CannotCarry, Outgoing
from hermod.providers.cargo import Cargo
from hermod.providers.gemini.answer import Spoken, block_reason, parts_of, refusal_of
from hermod.providers.gemini.config import add_own, voice_config
from hermod.providers.gemini.parts import inline, mime_type_of
from hermod.providers.gemini.sound import as_wav, decoded
from hermod.providers.gemini.usage import details_of_input, token_usage, usage_in
from hermod.providers.lenient import Members, items, members, text
from hermod.providers.multipart_body import FormFile, fields_and_files

_SOUNDS: Final = {"wav": "audio/wav", "pcm": "audio/pcm"}
_TRANSCRIBE: Final = (
    "Write down what is said in this recording, word for word, in the language in which it is "
    "said. Answer with nothing but these words; with nothing at all if nobody speaks."
)
_TEXTS: Final = frozenset({"", "json", "text"})
_FILTERED: Final = "content_filter"
_REFUSED: Final = 400


def speech_request(kind: AnyKind, outgoing: Outgoing) -> tuple[Members, tuple[str, ...]]:
    """The `GenerateContentRequest` of speech, and what was dropped.

    Raises:
        CannotCarry: a format that the gateway cannot make of raw samples, or a voice that is no
            name.
    """
    cargo = Cargo(kind, outgoing)
    said = text(cargo.take("input"))
    instructions = text(cargo.take("instructions")).strip()
    if instructions:
        # Its models are told how to speak in front of what to say.
        said = f"{instructions.rstrip('.:')}:\n{said}"
    speech = _speech_config(cargo.take("voice"))
    language = text(cargo.take("language_code"))
    if language:
        speech["languageCode"] = language
    config: Members = {"responseModalities": ["AUDIO"]}
    if speech:
        config["speechConfig"] = speech
    cargo.pass_over(("stream_format", "enable_logging", "optimize_streaming_latency"))
    dropped: tuple[str, ...] = ()
    wanted = text(cargo.take("response_format"))
    if wanted not in {"", *_SOUNDS}:
        if not outgoing.drop_unsupported:
            raise CannotCarry("response_format: only wav and pcm are supported", "response_format")
        dropped = ("response_format",)
    body: Members = {"contents": [{"role": "user", "parts": [{"text": said}]}]}
    add_own(cargo, body, config)
    return body | {"generationConfig": config}, (*dropped, *cargo.finish({"speed": 1}))


def _speech_config(voice: object) -> Members:
    if isinstance(voice, str):
        return voice_config(voice) if voice else {}
    speakers = [members(each) for each in items(voice)]
    if not speakers:
        raise CannotCarry("voice: expected a name, or speakers with a name each", "voice")
    if len(speakers) == 1 and not text(speakers[0].get("speaker")):
        return voice_config(text(speakers[0].get("voice")))
    voices = [
        {"speaker": text(each.get("speaker")), **voice_config(text(each.get("voice")))}
        for each in speakers
    ]
    return {"multiSpeakerVoiceConfig": {"speakerVoiceConfigs": voices}}


def read_speech(outgoing: Outgoing, reply: Members) -> Answered | Failure:
    """The sound, as it was asked for: a WAV file, or the samples alone."""
    said = _said(reply)
    if isinstance(said, Failure):
        return said
    found = decoded(said.sounds) if said.sounds else None
    if found is None:
        return replies.invalid(replies.UNREADABLE, "there is no sound")
    mime_type, sound = found
    wanted = text(members(msgspec.json.decode(outgoing.body)).get("response_format"))
    if wanted != "pcm":
        wanted, sound = "wav", as_wav(mime_type, sound)
    answer: Members = {"audio": b64encode(sound).decode()}
    usage = usage_in(reply)
    if usage is not None:
        answer["usage"] = token_usage(usage)
    return Answered(msgspec.json.encode(answer), Native(_SOUNDS[wanted], sound), usage)


def transcription_request(outgoing: Outgoing) -> tuple[Members, tuple[str, ...]]:
    """The `GenerateContentRequest` of a transcription, and what was dropped.

    Raises:
        CannotCarry: a format with times, which the models do not tell reliably; or a file of which
            no type is known.
    """
    assert outgoing.content_type is not None
    form = fields_and_files(outgoing.body, outgoing.content_type)
    fields = dict(form.fields)
    dropped: tuple[str, ...] = ()
    if fields.get("response_format", "") not in _TEXTS:
        if not outgoing.drop_unsupported:
            raise CannotCarry(
                "response_format: only json and text are supported", "response_format"
            )
        dropped = ("response_format",)
    told = [_TRANSCRIBE]
    if fields.get("language"):
        told.append(f"It is said in the language {fields['language']}.")
    if fields.get("prompt"):
        told.append(f"This may help with names and with the style: {fields['prompt']}")
    file = next(each for each in form.files if each.part.name == "file")
    sound = inline(_type_of(file, fields), b64encode(file.contents).decode())
    body: Members = {
        "contents": [{"role": "user", "parts": [{"text": "\n".join(told)}, sound]}],
    }
    temperature = _number(fields.get("temperature"))
    if temperature is not None:
        body["generationConfig"] = {"temperature": temperature}
    return body, dropped


def _number(written: str | None) -> float | None:
    try:
        return float(written) if written else None
    except ValueError:
        raise CannotCarry("temperature: expected a number", "temperature") from None


def _type_of(file: FormFile, fields: Members) -> str:
    label = file.part.content_type.partition(";")[0].strip().lower()
    if label.startswith(("audio/", "video/")):
        return label
    told = mime_type_of(f".{fields.get('file_format', '')}") or mime_type_of(file.part.filename)
    if told is None or not told.startswith(("audio/", "video/")):
        raise CannotCarry("file: neither its type nor its name says which sound it is", "file")
    return told


def read_transcription(outgoing: Outgoing, reply: Members) -> Answered | Failure:
    """The words; as plain text too where that was asked for."""
    said = _said(reply)
    if isinstance(said, Failure):
        return said
    words = said.text.strip()
    answer: Members = {"text": words}
    usage = usage_in(reply)
    if usage is not None:
        details = details_of_input(reply, "audio")
        counted = token_usage(usage)
        answer["usage"] = {"type": "tokens", **counted, "input_token_details": details}
    native = None
    if _wants_text(outgoing):
        native = Native("text/plain; charset=utf-8", words.encode("utf-8", "replace"))
    return Answered(msgspec.json.encode(answer), native, usage)


def _wants_text(outgoing: Outgoing) -> bool:
    assert outgoing.content_type is not None
    form = fields_and_files(outgoing.body, outgoing.content_type)
    return dict(form.fields).get("response_format") == "text"


def _said(reply: Members) -> Spoken | Failure:
    """What the first candidate says, or why there is nothing."""
    reason = block_reason(reply)
    candidates = items(reply.get("candidates"))
    if reason and not candidates:
        return filtered(refusal_of(reason, reply), reason)
    if not candidates:
        return replies.invalid(replies.UNREADABLE, "there are no candidates")
    first = members(candidates[0])
    said = Spoken(parts_of(first), "")
    reason = text(first.get("finishReason"))
    if not said.texts and not said.sounds and reason not in {"", "STOP", "MAX_TOKENS"}:
        why = text(first.get("finishMessage")) or "the model gave no answer"
        return filtered(f"{reason}: {why}", reason)
    return said


def filtered(message: str, reason: str) -> Failure:
    """A refusal of what was asked for, where an answer has no place to say so."""
    return Failure(message, status_code=_REFUSED, error_type=_FILTERED, code=reason)
