"""Transcripts as ElevenLabs gives them (API reference, "Create transcript"), in OpenAI's forms.

OpenAI's `srt` is their additional format of that name; `vtt` is made of it.
"""

import re
from base64 import b64decode
from typing import Any, Final

import msgspec

from hermod.domain.failure import Failure
from hermod.domain.outcome import Native
from hermod.kinds.kind import FormKind
from hermod.providers import multipart_body, replies
from hermod.providers.adapter import Answered, CannotCarry, Outgoing, Prepared
from hermod.providers.form_as_json import contents_of, refuse
from hermod.providers.lenient import items, members, number, text
from hermod.providers.multipart_body import FormContents

_FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
_SUBTITLES: Final = ("srt", "vtt")
_SRT: Final = '[{"format":"srt"}]'
_FILE_FORMATS: Final = ("pcm_s16le_16", "other")
_NEVER: Final = frozenset({"fallbacks", "response_format", "stream", "timestamp_granularities"})
"""Not for them: words have their times whatever is asked."""
_REFUSED: Final = frozenset({"webhook", "webhook_id", "webhook_metadata"})
"""With them the transcript goes elsewhere."""
_WORDS: Final = ("diarize", "timestamps_granularity", "use_multi_channel")
"""Who asks for one of these wants to see the words."""
_srt_times: Final = re.compile(r"(?m)^([0-9:]+),([0-9]+ --> [0-9:]+),([0-9]+)").sub
_VTT_TIMES: Final = r"\1.\2.\3"
_PLAIN: Final = "text/plain; charset=utf-8"


def build(kind: FormKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    form = contents_of(outgoing)
    fields = [("model_id", outgoing.model)]
    dropped: tuple[str, ...] = ()
    for name, value in form.fields:
        field = name.partition("[")[0]
        if field == "response_format" and value not in ("", *_FORMATS):
            raise CannotCarry(f"response_format: must be one of {', '.join(_FORMATS)}", field)
        if field in _REFUSED and value not in ("", "false"):
            raise CannotCarry(f"{field}: the answer comes here, to no webhook", field)
        if field == "model" or field in _NEVER or field in _REFUSED or not value:
            continue
        if field == "prompt":
            dropped += refuse(outgoing, field)
        elif field == "language":
            fields.append(("language_code", value))
        elif field == "file_format":
            # Ours tells the container; theirs whether it is raw.
            fields.append((field, value if value in _FILE_FORMATS else "other"))
        elif field not in kind.known_fields and outgoing.forward_unknown:
            fields.append((name, value))
    if _wanted(form) in _SUBTITLES and "additional_formats" not in dict(fields):
        fields.append(("additional_formats", _SRT))
    body, content_type = multipart_body.compose(
        fields, [each for each in form.files if each.part.name == "file"][:1], outgoing.boundary
    )
    return Prepared(content_type, body, dropped=dropped)


def _wanted(form: FormContents) -> str:
    return dict(form.fields).get("response_format") or "json"


def read(outgoing: Outgoing, content_type: str | None, body: bytes) -> Answered | Failure:
    """See `Dialect.read`."""
    reply = replies.object_in(content_type, body)
    if isinstance(reply, Failure):
        return reply
    channels = [members(each) for each in items(reply.get("transcripts"))] or [reply]
    if not all(isinstance(each.get("text"), str) for each in channels):
        return replies.invalid(replies.UNREADABLE, "`text` is not a text")
    whole = "\n".join(each["text"] for each in channels)
    form = contents_of(outgoing)
    wanted = _wanted(form)
    if wanted == "text":
        return _plain(whole)
    if wanted in _SUBTITLES:
        srt = _srt(reply)
        if srt is None:
            return replies.invalid(replies.UNREADABLE, "`additional_formats` has no subtitles")
        return _plain(srt if wanted == "srt" else "WEBVTT\n\n" + _srt_times(_VTT_TIMES, srt))
    words = [_word(members(word)) for each in channels for word in items(each.get("words"))]
    shown = [word for word in words if word.pop("type", "word") != "spacing"]
    seconds = number(reply.get("audio_duration_secs"))
    if seconds is None:
        seconds = max((number(word.get("end")) or 0 for word in shown), default=0)
    answer: dict[str, Any] = {"text": whole}
    if wanted == "verbose_json":
        answer |= {
            "task": "transcribe",
            "language": text(channels[0].get("language_code")),
            "duration": seconds,
        }
    if wanted == "verbose_json" or any(name in _WORDS for name, _ in form.fields):
        answer["words"] = shown
    answer["usage"] = {"type": "duration", "seconds": seconds}
    for name in ("entities", "edited_transcript", "additional_formats", "transcription_id"):
        if reply.get(name):
            answer[name] = reply[name]
    return Answered(msgspec.json.encode(answer))


def _plain(whole: str) -> Answered:
    body = msgspec.json.encode({"text": whole})
    return Answered(body, Native(_PLAIN, whole.encode()))


def _srt(reply: dict[str, Any]) -> str | None:
    for each in items(reply.get("additional_formats")):
        found = members(each)
        if found.get("requested_format") != "srt" or not isinstance(found.get("content"), str):
            continue
        if not found.get("is_base64_encoded"):
            return found["content"]
        try:
            return b64decode(found["content"]).decode()
        except ValueError:
            return None
    return None


def _word(told: dict[str, Any]) -> dict[str, Any]:
    """As OpenAI has it, with what else is known of it."""
    word: dict[str, Any] = {
        "word": text(told.get("text")),
        "start": number(told.get("start")) or 0,
        "end": number(told.get("end")) or 0,
        "type": text(told.get("type")) or "word",
    }
    for theirs, ours in (("speaker_id", "speaker"), ("channel_index", "channel_index")):
        if told.get(theirs) is not None:
            word[ours] = told[theirs]
    return word
