"""The `providers` section, and the providers found in the environment."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final

from hermod.config.addresses import address_fault, header_value_fault, host_address
from hermod.config.custom import read_custom
from hermod.config.key_configs import address, read_key_configs
from hermod.config.section import Section, did_you_mean
from hermod.config.settings import HermodSettings
from hermod.domain.headers import CONNECTION_HEADERS, HEADER_NAME
from hermod.domain.provider import (
    HEADER_PROVIDED,
    CustomSettings,
    KeySettings,
    ProviderSettings,
    ProxySettings,
    Row,
    Secret,
)

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Found:
    """The providers that jobs can be sent to, and the prefixes the operator made up."""

    providers: dict[str, ProviderSettings]
    custom_names: frozenset[str]


def read_providers(
    section: Section, defaults: HermodSettings, rows: Mapping[str, Row], known: frozenset[str]
) -> Found:
    """Everything under `providers`, then what the environment offers beside it."""
    providers: dict[str, ProviderSettings] = {}
    written: dict[str, str] = {}
    custom_names: set[str] = set()
    for key in section.members:
        # Bifrost, too, reads the names in lower case.
        name = key.lower()
        if name in written:
            section.problem(f"is the same provider as {written[name]}: keep one of them", key)
            section.take(key)
            continue
        written[name] = key
        entry = section.section(key)
        row, custom = shape_of(name, entry, rows, known)
        if name not in known and _NAME.fullmatch(name):
            custom_names.add(name)
        if row is not None:
            providers[name] = read_provider(name, entry, row, custom, defaults)
            entry.finish()
    for name, row in rows.items():
        if name not in written and (found := _from_environment(section, row, defaults)):
            providers[name] = found
    return Found(providers, frozenset(custom_names))


def unconfigured(
    rows: Mapping[str, Row], configured: Mapping[str, ProviderSettings], defaults: HermodSettings
) -> dict[str, ProviderSettings]:
    """The other providers of the table that have an address of their own, without a key."""
    return {
        name: _usual(row, defaults, origin="", base_url=row.base_url)
        for name, row in rows.items()
        if name not in configured and row.base_url
    }


def shape_of(
    name: str, entry: Section, rows: Mapping[str, Row], known: frozenset[str]
) -> tuple[Row | None, CustomSettings | None]:
    """The row a provider speaks like; None when there is nothing to configure."""
    wants_custom = entry.take("custom_provider_config") is not None
    if name == "mock":
        entry.problem('is built in: remove it here and use "hermod": {"mock": true or false}')
    elif name in known:
        if wants_custom:
            entry.problem(
                "is a known provider: give your own one another name", "custom_provider_config"
            )
        elif name in rows:
            return rows[name], None
        else:
            entry.ignored("its adapter comes in a later release; its jobs fail as not configured")
    elif not _NAME.fullmatch(name):
        entry.problem("a provider's name is made of letters, digits, '.', '_' and '-'")
    elif not wants_custom:
        entry.problem(
            f"unknown provider{did_you_mean(name, known)} (a provider of your own needs "
            '"custom_provider_config": {"base_provider_type": "openai"})'
        )
    else:
        return read_custom(entry, rows, known)
    return None, None


def read_provider(
    name: str, entry: Section, row: Row, custom: CustomSettings | None, defaults: HermodSettings
) -> ProviderSettings:
    """One provider. `entry` is still to be finished."""
    network = entry.section("network_config")
    capacity = entry.section("concurrency_and_buffer_size")
    skip_verify = network.flag("insecure_skip_verify")
    ca_cert_pem = _ca_cert_pem(network)
    if skip_verify and ca_cert_pem:
        network.problem("contradicts ca_cert_pem: remove one of them", "insecure_skip_verify")
    elif skip_verify:
        network.warn(
            "anybody on the way can read the key; prefer ca_cert_pem", "insecure_skip_verify"
        )
    initial_ms, max_ms = _backoffs(network, defaults)
    found = ProviderSettings(
        name=name,
        origin=PurePath(entry.source.document.name).name,
        row=row,
        base_url=address(network, "base_url") or row.base_url,
        keys=_keys(entry, name),
        # 0 is how Bifrost writes "not set" when it exports a configuration.
        attempt_timeout_s=network.integer("default_request_timeout_in_seconds", 0, 0, 604_800)
        or defaults.attempt_timeout_s,
        max_retries=network.integer("max_retries", defaults.max_retries, 0, 100),
        retry_backoff_initial_ms=initial_ms,
        retry_backoff_max_ms=max_ms,
        concurrency=capacity.integer("concurrency", 0, 0, 100_000) or defaults.worker_slots,
        extra_headers=_extra_headers(network.section("extra_headers")),
        send_back_raw_request=entry.flag("send_back_raw_request"),
        send_back_raw_response=entry.flag("send_back_raw_response"),
        insecure_skip_verify=skip_verify,
        ca_cert_pem=ca_cert_pem,
        proxy=_proxy(entry),
        custom=custom,
        # An address that stands in the file may be private without being asked (design.md 3.4).
        public_only=not network.flag("allow_private_network") and entry.source.is_api,
    )
    if not found.keyless and not any(key.usable for key in found.keys):
        entry.warn("has no usable key: its jobs will fail until it has one", "keys")
    capacity.later("buffer_size", int, "waiting jobs stay in the store, whose size has no limit")
    entry.later("store_raw_request_response", bool, "comes in a later release", neutral=False)
    entry.later("openai_config", dict, "comes in a later release", neutral={})
    network.later("max_conns_per_host", int, "concurrency is the only cap")
    network.later("stream_idle_timeout_in_seconds", int, "streams come in a later release")
    network.later("keep_alive_timeout_in_seconds", int, "left to the connection pool")
    network.later("enforce_http2", bool, "HTTP/1.1 only", neutral=False)
    network.later("beta_header_overrides", dict, "comes with the Anthropic adapter", neutral={})
    network.finish()
    capacity.finish()
    return found


def _backoffs(network: Section, defaults: HermodSettings) -> tuple[int, int]:
    """First and longest wait; the `_ms` spelling is the JSON schema's (wire-contract 8.5)."""
    initial, longest = (
        max(network.milliseconds(spelling, 0, 3_600_000) for spelling in (name, f"{name}_ms"))
        for name in ("retry_backoff_initial", "retry_backoff_max")
    )
    if initial and longest and initial > longest:
        network.problem(
            f"the first wait, {initial} ms, is longer than the longest, {longest} ms",
            "retry_backoff_initial",
        )
    # A default gives way to what was written.
    initial = initial or min(defaults.retry_backoff_initial_ms, longest or 3_600_000)
    return initial, longest or max(defaults.retry_backoff_max_ms, initial)


def _keys(entry: Section, provider: str) -> tuple[KeySettings, ...]:
    keys: list[KeySettings] = []
    for number, section in enumerate(entry.sections("keys"), start=1):
        key = _key(section, f"{provider}-key-{number}")
        if any(key.name == other.name for other in keys):
            section.warn("another key has the same name: attempts will not tell them apart", "name")
        if any(key.id == other.id for other in keys):
            key = replace(key, id=f"{key.id}-{number}")
        keys.append(key)
    return tuple(keys)


def _key(section: Section, unnamed: str) -> KeySettings:
    key_id = section.text("id")
    name = section.text("name") or key_id or unnamed
    for member in ("id", "name"):
        # Such a one is let through by every virtual key.
        if section.members.get(member) == HEADER_PROVIDED:
            section.problem("is what a key is called that a caller brings: choose another", member)
    value = section.secret("value")
    if fault := header_value_fault(value.reveal()):
        section.problem(fault, "value")
    models = section.texts("models")
    if not models and section.members.get("models") == []:
        section.warn('an empty list means all models; write ["*"] to be plain', "models")
    about = read_key_configs(section)
    # Changes nothing as long as there are no batches.
    section.flag("use_for_batch_api")
    key = KeySettings(
        name=name,
        id=key_id or name,
        value=value,
        models=about.served or (frozenset() if "*" in models else frozenset(models)),
        blacklisted_models=frozenset(section.texts("blacklisted_models")),
        weight=section.number("weight", 1.0, 0, 1_000_000),
        concurrency=section.integer("concurrency", 0, 0, 100_000) or None,
        enabled=section.flag("enabled", default=True),
        base_url=about.base_url,
        aliases=about.aliases,
        azure=about.azure,
        bedrock=about.bedrock,
        vertex=about.vertex,
    )
    section.finish()
    return key


def _extra_headers(section: Section) -> tuple[tuple[str, Secret], ...]:
    headers: list[tuple[str, Secret]] = []
    for name in section.members:
        value = section.secret(name)
        if not HEADER_NAME.fullmatch(name):
            section.problem("is not a header name", name)
        elif name.lower() in CONNECTION_HEADERS:
            section.problem("cannot be set: it belongs to the connection", name)
        elif fault := header_value_fault(value.reveal()):
            section.problem(fault, name)
        elif value:
            headers.append((name, value))
    return tuple(headers)


def _proxy(entry: Section) -> ProxySettings | None:
    section = entry.section("proxy_config")
    kind = section.choice("type", "none", ("none", "http", "socks5", "environment"))
    proxy = ProxySettings(
        type=kind,
        url=section.secret("url"),
        username=section.secret("username"),
        password=section.secret("password"),
    )
    section.secret("ca_cert_pem")
    section.finish()
    if kind == "none":
        return None
    section.ignored("calls go out directly; proxies come in a later release")
    return proxy


def _ca_cert_pem(network: Section) -> str | None:
    text = network.secret("ca_cert_pem").reveal()
    if not text:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, TypeError, ValueError):  # TypeError: a letter beyond ASCII
        network.problem("is not a PEM certificate (-----BEGIN CERTIFICATE-----)", "ca_cert_pem")
        return None
    return text


def _from_environment(
    section: Section, row: Row, defaults: HermodSettings
) -> ProviderSettings | None:
    """The provider when the environment offers it: by a key, or a keyless one by its address."""
    environ, report = section.source.environ, section.source.report
    key_name = next((name for name in row.key_env if environ.get(name)), None)
    url_name = next((name for name in row.url_env if environ.get(name)), None)
    origin = url_name or (None if row.keyless else key_name)
    if origin is None or not (url_name or row.base_url):
        return None  # a key alone does not say where its resource is
    keys: list[KeySettings] = []
    if key_name:
        value = environ[key_name]
        if fault := header_value_fault(value):
            report.problem(f"environment {key_name}: {fault}")
        keys.append(KeySettings(name=key_name, id=key_name, value=Secret(value)))
    base_url = host_address(environ[url_name], row.base_url) if url_name else row.base_url
    if fault := address_fault(base_url):
        report.problem(f"environment {url_name}: {fault}")
    return _usual(row, defaults, origin=origin, base_url=base_url, keys=tuple(keys))


def _usual(
    row: Row,
    defaults: HermodSettings,
    *,
    origin: str,
    base_url: str,
    keys: tuple[KeySettings, ...] = (),
) -> ProviderSettings:
    return ProviderSettings(
        name=row.name,
        origin=origin,
        row=row,
        base_url=base_url,
        keys=keys,
        attempt_timeout_s=defaults.attempt_timeout_s,
        max_retries=defaults.max_retries,
        retry_backoff_initial_ms=defaults.retry_backoff_initial_ms,
        retry_backoff_max_ms=defaults.retry_backoff_max_ms,
        concurrency=defaults.worker_slots,
    )
