"""What the headers of a request ask of us (wire-contract 2)."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from hermod.domain.duration import LONGEST_S, go_duration_s
from hermod.domain.errors import Refused, bad_request
from hermod.domain.forwarding import HeaderFilter
from hermod.domain.headers import CREDENTIAL_HEADERS, HEADER_NAME, UNSENDABLE
from hermod.domain.job import OnUnknown
from hermod.domain.options import NO_OPTIONS, Options
from hermod.http.message import Header

_MAX_REQUEST_ID: Final = 256
_MAX_BAGGAGE: Final = 8192
"""W3C Baggage, 3.3.2."""
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)
"""W3C Trace Context, 3.2; a version above 00 may say more at its end."""
_TRACEPARENT_00: Final = 55
"""Characters of one of version 00."""
_BAGGAGE_VALUE: Final = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_BAGGAGE_MEMBER: Final = re.compile(
    rf"[ \t]*{HEADER_NAME.pattern}[ \t]*=[ \t]*{_BAGGAGE_VALUE}[ \t]*"
    rf"(?:;[ \t]*{HEADER_NAME.pattern}[ \t]*(?:=[ \t]*{_BAGGAGE_VALUE}[ \t]*)?)*"
)
"""W3C Baggage, 3.3.1."""
_SECONDS: Final = re.compile(r"\+?([0-9]{1,19})")
_FLAGS: Final = {"true": True, "false": False}
_RESERVED_DIMENSIONS: Final = frozenset({"path", "method"})

_ONCE: Final = frozenset(
    {
        "baggage",
        "traceparent",
        "x-bf-api-key",
        "x-bf-api-key-id",
        "x-bf-async",
        "x-bf-async-id",
        "x-bf-async-job-result-ttl",
        "x-bf-async-webhook",
        "x-bf-disable-content-logging",
        "x-bf-parent-request-id",
        "x-bf-passthrough-extra-params",
        "x-bf-send-back-raw-request",
        "x-bf-send-back-raw-response",
        "x-bf-session-id",
        "x-bf-session-ttl",
        "x-bf-store-raw-request-response",
        "x-hermod-on-unknown",
        "x-request-id",
    }
)
"""Headers with one value; of several the last one counts."""

_BESIDE_OPTIONS: Final = frozenset(
    {
        "x-bf-async",
        "x-bf-async-id",
        "x-bf-async-job-result-ttl",
        "x-bf-async-webhook",
        "x-hermod-on-unknown",
        "x-request-id",
    }
)
"""Those of them that are no options of the job."""

_COMMON: Final = frozenset(
    {
        "accept", "accept-encoding", "accept-language", "anthropic-version", "api-key",
        "authorization", "cache-control", "connection", "content-encoding", "content-length",
        "content-type", "cookie", "expect", "forwarded", "host", "origin", "pragma", "priority",
        "referer", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "transfer-encoding",
        "user-agent", "via", "x-api-key", "x-bf-vk", "x-forwarded-for", "x-forwarded-host",
        "x-forwarded-port", "x-forwarded-proto", "x-goog-api-client", "x-goog-api-key",
        "x-real-ip", "x-stainless-arch", "x-stainless-async", "x-stainless-helper-method",
        "x-stainless-lang", "x-stainless-os", "x-stainless-package-version",
        "x-stainless-read-timeout", "x-stainless-retry-count", "x-stainless-runtime",
        "x-stainless-runtime-version", "x-stainless-timeout",
    }
)  # fmt: skip
"""What clients and proxies send with every request and what says nothing about a job: a look at
this list is all that the common request costs."""


class RequestHeaders(NamedTuple):
    """What the headers ask for."""

    result_ttl: str | None = None
    """`x-bf-async-job-result-ttl`, as it came."""
    request_id: str | None = None
    """`x-request-id`"""
    on_unknown: OnUnknown = OnUnknown.RETRY
    """`x-hermod-on-unknown`"""
    wants_job: bool = False
    """`x-bf-async` on an integration route: anything but empty."""
    job_id: str | None = None
    """`x-bf-async-id` on an integration route; may be empty."""
    options: Options = NO_OPTIONS


NO_HEADERS: Final = RequestHeaders()


class HeaderRules:
    """What the operator decides about headers."""

    def __init__(
        self,
        header_filter: HeaderFilter | None = None,
        *,
        logged: Iterable[str] = (),
        required: Iterable[str] = (),
        prometheus_labels: Iterable[str] = (),
    ) -> None:
        """`logged`: headers that become labels (`client.logging_headers`); credentials never do.

        `required`: headers every request must have (`client.required_headers`).
        `prometheus_labels`: the labels that `x-bf-prom-` may set.
        """
        self.filter = header_filter or HeaderFilter()
        self.logged = frozenset(name.lower() for name in logged) - CREDENTIAL_HEADERS
        self.required = tuple(required)
        self.prometheus_labels = frozenset(label.lower() for label in prometheus_labels)
        self.unread = frozenset(
            name.encode()
            for name in _COMMON
            if name not in self.logged and not self.filter.admits_unasked(name, "")
        )
        """Names that need no second look."""


def missing(headers: Sequence[Header], required: Iterable[str]) -> tuple[str, ...]:
    """Those of the required headers that a request lacks, as the operator spelt them.

    An empty one is there, as in Bifrost.
    """
    given = {name for name, _ in headers}
    return tuple(name for name in required if name.lower().encode() not in given)


def read_headers(
    headers: Sequence[Header], rules: HeaderRules, *, is_async: bool = True
) -> RequestHeaders:
    """Everything the headers ask for; names must be in lower case.

    An odd value means what its absence means. Raises Refused (400) for an `x-hermod-on-unknown`
    that is none of its words and, where the request makes a job (`is_async`), for the name of a
    webhook endpoint, since there are none.
    """
    unread = rules.unread
    for name, _ in headers:
        if name not in unread:
            break
    else:
        if not rules.required:
            return NO_HEADERS
    found = _Found(rules)
    for name, value in headers:
        if name not in unread:
            found.take(name.decode("latin-1"), value.decode("latin-1").strip(" \t"))
    once = found.once
    if is_async and (webhook := once.get("x-bf-async-webhook")):
        raise _no_webhook(webhook)
    return RequestHeaders(
        result_ttl=once.get("x-bf-async-job-result-ttl"),
        request_id=_request_id(once.get("x-request-id")),
        on_unknown=_on_unknown(once.get("x-hermod-on-unknown")),
        wants_job=bool(once.get("x-bf-async")),
        job_id=once.get("x-bf-async-id"),
        options=found.options(missing(headers, rules.required) if rules.required else ()),
    )


class _Found:
    """What is gathered on the way through the headers."""

    def __init__(self, rules: HeaderRules) -> None:
        self._rules = rules
        self.once: dict[str, str] = {}
        self._forward: list[tuple[str, str]] = []
        self._labels: dict[str, str] = {}
        self._logged: dict[str, str] = {}
        self._dimensions: dict[str, str] = {}
        self._prometheus: dict[str, str] = {}

    def take(self, name: str, value: str) -> None:
        """One header."""
        if UNSENDABLE.search(value):
            return
        if name in _ONCE:
            self.once[name] = value
        elif name.startswith("x-bf-"):
            self._take_named(name, value)
        if name in self._rules.logged:
            self._logged[name] = value
        if self._rules.filter.admits_unasked(name, value):
            self._forward.append((name, value))

    def _take_named(self, name: str, value: str) -> None:
        """`x-bf-<family>-<name>`, where the name is the caller's."""
        family, _, label = name.removeprefix("x-bf-").partition("-")
        if not label:
            return
        if family == "eh" and self._rules.filter.admits(label, value):
            self._forward.append((label, value))
        elif family == "lh":
            self._labels[label] = value
        elif family == "dim" and label not in _RESERVED_DIMENSIONS:
            self._dimensions[label] = value
        elif family == "prom" and label in self._rules.prometheus_labels:
            self._prometheus[label] = value

    def options(self, lacked: tuple[str, ...]) -> Options:
        """All of it that the job has to keep."""
        once = self.once
        labels = self._logged | self._labels
        dimensions = self._prometheus | self._dimensions
        if not (lacked or labels or dimensions or self._forward) and _BESIDE_OPTIONS.issuperset(
            once
        ):
            return NO_OPTIONS
        return Options(
            passthrough=_passthrough(once.get("x-bf-passthrough-extra-params")),
            forward=tuple(self._forward),
            labels=labels,
            dimensions=dimensions,
            key_name=once.get("x-bf-api-key") or None,
            key_id=once.get("x-bf-api-key-id") or None,
            session_id=once.get("x-bf-session-id") or None,
            session_ttl_s=_session_ttl_s(once.get("x-bf-session-ttl", "")),
            parent_request_id=once.get("x-bf-parent-request-id") or None,
            raw_request=_flag(once.get("x-bf-send-back-raw-request")),
            raw_response=_flag(once.get("x-bf-send-back-raw-response")),
            store_raw=_flag(once.get("x-bf-store-raw-request-response")),
            disable_content_logging=_flag(once.get("x-bf-disable-content-logging")),
            missing_headers=lacked,
            traceparent=_traceparent(once.get("traceparent", "")),
            baggage=_baggage(once.get("baggage", "")),
        )


def _flag(value: str | None) -> bool | None:
    return None if value is None else _FLAGS.get(value.lower())


def _passthrough(value: str | None) -> bool | None:
    return None if value is None else value.lower() == "true"


def _request_id(value: str | None) -> str | None:
    if value is None or not 0 < len(value) <= _MAX_REQUEST_ID or not value.isprintable():
        return None
    return value


def _session_ttl_s(value: str) -> float | None:
    """One of Go's durations, or whole seconds."""
    digits = _SECONDS.fullmatch(value)
    seconds = go_duration_s(value) if digits is None else float(digits[1])
    return seconds if seconds is not None and 0 < seconds < LONGEST_S else None


def _traceparent(value: str) -> str | None:
    if not _TRACEPARENT.fullmatch(value):
        return None
    return value if value[:2] != "00" or len(value) == _TRACEPARENT_00 else None


def _baggage(value: str) -> str | None:
    if len(value) > _MAX_BAGGAGE:
        return None
    return value if all(_BAGGAGE_MEMBER.fullmatch(member) for member in value.split(",")) else None


def _on_unknown(value: str | None) -> OnUnknown:
    if value is None:
        return OnUnknown.RETRY
    try:
        return OnUnknown(value.lower())
    except ValueError:
        raise bad_request("x-hermod-on-unknown must be retry or fail") from None


def _no_webhook(name: str) -> Refused:
    quoted = json.dumps(name, ensure_ascii=False)
    return bad_request(
        f"invalid webhook endpoint reference: unknown webhook endpoint with name {quoted}"
    )
