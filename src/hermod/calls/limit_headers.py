"""What a reply's headers say about the limits of a key. Facts, each from its vendor's page:

- OpenAI (platform.openai.com/docs/guides/rate-limits):
  `x-ratelimit-{limit,remaining,reset}-requests`, `-tokens` and `-project-tokens`; resets are
  durations, `1s`, `6m0s`, `20ms`.
- Groq (console.groq.com/docs/rate-limits): the same names, requests per day, `2m59.56s`.
- Azure (learn.microsoft.com, Azure OpenAI quotas): the same names, resets in bare seconds,
  `retry-after-ms`; -1 where there is no limit, less than 0 where it is overdrawn.
- Anthropic (docs.claude.com, rate limits): `anthropic-ratelimit-{requests,tokens,input-tokens,
  output-tokens}-{limit,remaining,reset}`; resets are RFC 3339 instants. `anthropic-priority-…` says
  only when the priority tier ends, which stops no call.
- Mistral: `x-ratelimit-{limit,remaining}-{req,tokens}-minute`, without a reset; earlier
  `ratelimitbysize-…` (tokens).
- Cerebras (inference-docs.cerebras.ai/support/rate-limits): `…-requests-day`, `…-tokens-minute`,
  resets in seconds with a fraction.
- Together (docs.together.ai/docs/rate-limits): `x-ratelimit-{limit,remaining,reset}`, seconds, and
  `x-tokenlimit-…`.
- Fireworks (docs.fireworks.ai, rate limits): `…-tokens-prompt`, `…-tokens-generated`, no resets.
- OpenRouter (openrouter.ai/docs, limits): `x-ratelimit-reset` in milliseconds since the epoch.
- The IETF's draft (draft-ietf-httpapi-ratelimit-headers): `ratelimit-{limit,remaining,reset}` up to
  its sixth version, `ratelimit: limit=…, remaining=…, reset=…` in the seventh,
  `ratelimit: "name";r=…;t=…` since (its `ratelimit-policy` says nothing that is needed here).

So one grammar reads them all: a family, the word limit, remaining or reset, and what it counts.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from hermod.providers.upstream_errors import retry_after_s

_TEXT_MAX: Final = 256
"""Characters of a header that are read."""
_NAME: Final = re.compile(
    r"(?:x-|anthropic-)?(ratelimit|ratelimitbysize|tokenlimit)-([a-z0-9_-]{1,64})"
)
_FIELDS: Final = frozenset({"limit", "remaining", "reset"})
_PERIODS: Final = (
    ("second", 1.0), ("minute", 60.0), ("hour", 3600.0), ("day", 86_400.0), ("month", 2_592_000.0)
)  # fmt: skip
_SOON_S: Final = 1.0
"""When to look again where nothing says when a window ends."""
_DIGITS_MAX: Final = 18
_COUNT: Final = re.compile(r"\s*(-?[0-9]{1,18})(?:\.[0-9]+)?\s*(?:[,;].*)?")
_DURATION: Final = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,18})?(?:ms|us|µs|ns|[smhd]))+")
_PART: Final = re.compile(r"([0-9.]+)(ms|us|µs|ns|[smhd])")
_UNITS_S: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0
}  # fmt: skip
_NUMBER: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")
_EPOCH_S: Final = 1e9
"""A number this large is no wait but an instant."""
_EPOCH_MS: Final = 1e12
_NAMED: Final = re.compile(r"([a-z]+)\s*=\s*\"?([a-z0-9-]+)")


class Window(NamedTuple):
    """One of the limits that a reply told of."""

    remaining: int
    limit: int | None
    """How many there are when it is whole; None where nobody says how many, or when."""
    reset_s: float
    """In how many seconds it is whole again, not capped."""
    of_requests: bool = True
    """Otherwise of something that we do not count: it is used up only at 0."""


def windows(headers: Iterable[tuple[str, str]], now_at: int) -> list[Window]:
    """What the headers of a reply tell; names in lower case, `now_at` in microseconds.

    Never raises: what is not understood is left out.
    """
    told = [pair for pair in headers if "limit" in pair[0]]
    return _windows(told, now_at) if told else []


def wait_asked_s(headers: Iterable[tuple[str, str]], now_at: int) -> float | None:
    """How long a 429 asks us to stay away in other words than `Retry-After`, in seconds.

    Azure's `retry-after-ms`, or the end of a window that is used up. Not capped.
    """
    pairs = list(headers)
    for name, text in pairs:
        if name in {"retry-after-ms", "x-ms-retry-after-ms"} and _NUMBER.fullmatch(text.strip()):
            return float(text) / 1000
    ends = [window.reset_s for window in windows(pairs, now_at) if window.remaining <= 0]
    return max(ends, default=None)


def reset_s(text: str, now_at: int) -> float | None:
    """Seconds from `now_at` (microseconds) until a reset, however it is written; 0 in the past."""
    text = text.strip()
    if len(text) > _TEXT_MAX:
        return None
    lasts_s = _duration_s(text)
    if lasts_s is not None:
        return lasts_s
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number < _EPOCH_S:
            return number
        return max(number / (1000 if number >= _EPOCH_MS else 1) - now_at / 1e6, 0.0)
    try:
        instant = datetime.fromisoformat(text.upper())
    except ValueError:
        return retry_after_s(text, now_at)  # an HTTP date
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return max((instant - datetime.fromtimestamp(now_at / 1e6, UTC)).total_seconds(), 0.0)


@lru_cache(maxsize=1024)  # the same few come with every reply
def _duration_s(text: str) -> float | None:
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(amount) * _UNITS_S[unit] for amount, unit in _PART.findall(text))


def _windows(told: list[tuple[str, str]], now_at: int) -> list[Window]:
    groups: dict[str, dict[str, str]] = {}
    found: list[Window] = []
    for name, text in told:
        if len(text) > _TEXT_MAX:
            continue
        if name == "ratelimit":
            found += _of_draft(text.lower())
        elif (place := _place(name)) is not None:
            groups.setdefault(place[0], {})[place[1]] = text
    for group, said in groups.items():
        window = _window(group, said, now_at)
        if window is not None:
            found.append(window)
    return found


@lru_cache(maxsize=256)
def _place(name: str) -> tuple[str, str] | None:
    """What a header counts, and which word it says of it; None when it is none of ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    parts = match[2].split("-")
    field = next((part for part in parts if part in _FIELDS), None)
    if field is None:
        return None
    parts.remove(field)
    kind = "" if match[1] == "ratelimit" else "tokens-"
    return kind + "-".join(parts), field


def _window(group: str, said: Mapping[str, str], now_at: int) -> Window | None:
    remaining = _count(said.get("remaining"))
    if remaining is None:
        return None
    limit = _count(said.get("limit"))
    ends_s = reset_s(said["reset"], now_at) if "reset" in said else None
    if (limit is not None and limit <= 0) or (remaining < 0 and not ends_s):
        return None  # how some say that there is no limit
    if ends_s is None:
        ends_s = next((length_s for word, length_s in _PERIODS if word in group), None)
    if ends_s is None:
        ends_s, limit = _SOON_S, None
    return Window(remaining, limit, ends_s, group == "" or "req" in group)


def _of_draft(text: str) -> list[Window]:
    """The one header that says it all, in either of its forms."""
    items = text.split(",") if "remaining" not in text else [text]
    found: list[Window] = []
    for item in items:
        said = dict(_NAMED.findall(item))
        remaining = _count(said.get("r", said.get("remaining")))
        if remaining is None or remaining < 0:
            continue
        ends_s = float(_count(said.get("t", said.get("reset"))) or _SOON_S)
        found.append(Window(remaining, _count(said.get("limit")), ends_s, "token" not in item))
    return found


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) <= _DIGITS_MAX and text.isascii() and text.isdigit():
        return int(text)
    match = _COUNT.fullmatch(text)
    return int(match[1]) if match is not None else None
