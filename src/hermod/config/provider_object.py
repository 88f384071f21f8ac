"""One provider as it comes over the API: read by the rules of the file, and by stricter ones.

Whoever may write to the API is not whoever starts the gateway. So nothing here reads the gateway's
environment, its files or its own identity in a cloud, and private addresses need a word of their
own (design.md 3.4).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, cast
from urllib.parse import urlsplit

from hermod.config.document import Document
from hermod.config.providers import read_provider, shape_of
from hermod.config.section import Report, Section, Source, in_file_order
from hermod.config.settings import HermodSettings
from hermod.domain.addresses import written_private
from hermod.domain.provider import (
    Auth,
    KeySettings,
    ProviderRead,
    ProviderSettings,
    Row,
)

_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_NAME_LENGTH: Final = 100
_PRIVATE: Final = (
    "leads to an address that is not public ({}): set network_config.allow_private_network to true "
    "if that is meant"
)
_NO_OWN: Final = (
    "has no credential of its own; the gateway's identity in the cloud is only for providers of "
    "the config file"
)


def read_object(
    name: str,
    members: Mapping[str, object],
    *,
    defaults: HermodSettings,
    rows: Mapping[str, Row],
    known: frozenset[str],
) -> ProviderRead:
    """The provider of this name that a JSON object describes; every problem with its place."""
    report = Report()
    entry = Section(Source(Document(), {}, report, is_api=True), (), members)
    row, custom = shape_of(name, entry, rows, known)
    if len(name) > _NAME_LENGTH:
        entry.problem(f"a provider's name has at most {_NAME_LENGTH} characters")
    if row is None:
        if not report.problems:
            entry.problem("this release has no adapter for it")
        return ProviderRead(None, _told(report))
    found = read_provider(name, entry, row, custom, defaults)
    entry.finish()
    _check_keys(entry, found)
    _check_addresses(entry, found)
    if found.proxy is not None:
        entry.problem(
            "proxies come in a later release: calls would go out directly", "proxy_config"
        )
    if report.problems:
        return ProviderRead(None, _told(report))
    ignored = (f"{each.place}: has no effect: {each.reason}" for each in report.ignored)
    return ProviderRead(found, (), (*in_file_order(report.warnings), *ignored))


def _told(report: Report) -> tuple[str, ...]:
    """What concerns the whole object stands in no member."""
    return tuple(text.removeprefix(": ") for text in in_file_order(report.problems))


def _check_keys(entry: Section, found: ProviderSettings) -> None:
    ids: set[str] = set()
    for index, key in enumerate(found.keys):
        place = ("keys", index)
        if key.id in ids:
            entry.problem("another key has this id", *place, "id")
        ids.add(key.id)
        if key.usable and not _has_own_credential(found.row, key):
            entry.problem(_NO_OWN, *place)
        for part, region in (
            ("bedrock_key_config", key.bedrock and key.bedrock.region),
            ("vertex_key_config", key.vertex and key.vertex.region),
        ):
            # It becomes a part of the host's name.
            if region and not _REGION.fullmatch(region):
                entry.problem("is not the name of a region", *place, part, "region")
        if key.vertex and (text := key.vertex.auth_credentials.reveal()):
            _check_account(entry, text, (*place, "vertex_key_config", "auth_credentials"))


def _has_own_credential(row: Row, key: KeySettings) -> bool:
    if key.value:
        return True
    match row.auth:
        case Auth.AWS:
            return key.bedrock is not None and bool(key.bedrock.secret_key)
        case Auth.GOOGLE:
            return key.vertex is not None and bool(key.vertex.auth_credentials)
        case Auth.AZURE:
            azure = key.azure
            return azure is not None and bool(
                azure.client_secret and azure.client_id and azure.tenant_id
            )
        case _:
            return True


def _check_account(entry: Section, text: str, place: tuple[str | int, ...]) -> None:
    """Other kinds of accounts name files and addresses that the gateway would read."""
    try:
        account: object = json.loads(text)
    except (ValueError, RecursionError):
        return  # a problem that is noted already
    told = cast("dict[str, object]", account) if isinstance(account, dict) else {}
    if told.get("type") != "service_account":
        entry.problem(
            'must be of the type "service_account": others are only for the config file', *place
        )
        return
    token_uri = told.get("token_uri") or "https://oauth2.googleapis.com/token"
    try:
        parts = urlsplit(str(token_uri))
    except ValueError:
        parts = urlsplit("")
    host = parts.hostname or ""
    if parts.scheme != "https" or not (host + ".").endswith((".googleapis.com.", ".google.com.")):
        entry.problem("its token_uri is not an address of Google's", *place)


def _check_addresses(entry: Section, found: ProviderSettings) -> None:
    if not found.public_only:
        return
    for url, place in _addresses(found):
        if why := written_private(url):
            entry.problem(_PRIVATE.format(why), *place)


def _addresses(found: ProviderSettings) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """All addresses that calls may go to, and where they stand."""
    if any(key.base_url is None for key in found.keys) or not found.keys:
        yield found.base_url, ("network_config", "base_url")
    for index, key in enumerate(found.keys):
        if key.base_url:
            yield key.base_url, ("keys", index)
    for name, path in found.custom.path_overrides.items() if found.custom else ():
        if "://" in path:
            yield path, ("custom_provider_config", "request_path_overrides", name)
