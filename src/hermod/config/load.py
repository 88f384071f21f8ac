"""Reading every setting once, with every problem found at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hermod.config.addresses import is_loopback
from hermod.config.auth import is_enforced, read_admin_login
from hermod.config.client import read_client
from hermod.config.document import Document
from hermod.config.exposure import check_doors, check_files, check_management
from hermod.config.governance import read_governance
from hermod.config.launch import find_file, read_launch
from hermod.config.names import About
from hermod.config.prices import read_prices
from hermod.config.providers import read_providers, unconfigured
from hermod.config.section import Report, Section, Source, in_file_order
from hermod.config.settings import (
    AuthSettings,
    ClientSettings,
    HermodSettings,
    Loaded,
    Settings,
)
from hermod.config.tokens import check_templates, read_tokens
from hermod.domain.errors import ConfigError
from hermod.domain.governance import VirtualKey
from hermod.domain.provider import Row, Secret

_DAY_S: Final = 86_400
_YEAR_S: Final = 366 * _DAY_S

_TOP_LATER: Final[tuple[tuple[str, type, str], ...]] = (
    ("webhooks", list, "webhooks come in a later release"),
    ("config_store", dict, "the file is read at every start, nothing is copied from it"),
    ("logs_store", dict, "jobs are kept in --database"),
    ("vector_store", dict, "there is no semantic cache"),
    ("plugins", list, "there are no plugins"),
    ("mcp", dict, "there is no MCP gateway"),
    ("framework", dict, "prices are refreshed when asked for: hermod prices refresh"),
    ("server", dict, "Bifrost's web server only"),
    ("source_of_truth", str, "the file is never copied into the database"),
    ("env_label", str, "the dashboard comes in a later release"),
    ("access_profiles", list, "a virtual key says itself what it may do"),
    ("alerting", dict, "alerts come from what reads /metrics"),
    ("audit_logs", dict, "changes over the API are kept in the database, and not sent on"),
    ("circuit_breaker_config", dict, "calls begin carefully, and slow down where one fails"),
    ("cluster_config", dict, "gateways share a database, they need not know each other"),
    ("feature_flags", dict, "there are none"),
    ("guardrails_config", dict, "there are no guardrails: what callers send is not looked at"),
    ("large_payload_optimization", dict, "large bodies are spooled always"),
    ("load_balancer_config", dict, "keys and providers are chosen by weight and by how they do"),
    ("scim_config", dict, "there are no users: see hermod.auth.jwt"),
    ("skills_registry", dict, "there are no skills"),
    ("websocket", dict, "there are no WebSockets"),
)
"""Whole sections of Bifrost's file that are known and not acted on yet."""

_BACKOFFS: Final = ("retry_backoff_initial_ms", "retry_backoff_max_ms")
_CLOUD: Final = re.compile(r"AWS_|AZURE_|GOOGLE_|CLOUDSDK_|GCE_|IDENTITY_|MSI_|HOME$")
"""Variables that say how a machine proves who it is."""


def load(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    rows: Mapping[str, Row],
    known: frozenset[str],
) -> Loaded:
    """Read every setting: flag before environment before file before default.

    Args:
        flags: `hermod serve` flags by name (`base_path`); None or absent means not given.
        environ: the process's environment.
        rows: the OpenAI-shaped providers of the table, by name.
        known: every provider name that is a valid model prefix.

    Raises:
        ConfigError: with all problems, each naming its place and the remedy.
    """
    report = Report()
    app_dir, document = find_file(flags, environ, report)
    source = Source(document or Document(), environ, report)
    top = Section(source, (), source.document.members)
    for path in source.document.repeated:
        text = f"{source.document.place(path)}: written twice, the last one counts"
        report.warn(text, source.document.position(path))
    ours, theirs = top.section("hermod"), top.section("client")
    launch = read_launch(flags, environ, ours, app_dir)
    loopback = is_loopback(launch.host)
    client = read_client(theirs, enforced=is_enforced(theirs, top))
    prices = read_prices(ours)
    tokens = read_tokens(ours.section("auth"))
    hermod = _hermod(ours, client, version=top.integer("version", 2, 1, 2))
    found = read_providers(top.section("providers"), hermod, rows, known)
    governs = top.section("governance")
    login = read_admin_login(governs, top)
    about = About(found.providers, known, launch.admin_token, hermod.empty_lists)
    entities = read_governance(governs, about)
    governs.finish()
    settings = Settings(
        host=launch.host,
        port=launch.port,
        base_path=launch.base_path,
        app_dir=app_dir,
        config_file=Path(document.name) if document else None,
        database=launch.database.shown,
        database_url=launch.database.url,
        database_path=launch.database.path,
        role=launch.role,
        processes=launch.processes,
        log_level=launch.log_level,
        loopback=loopback,
        admin_token=launch.admin_token,
        encryption_key=_encryption_key(top),
        encryption_key_previous=_previous_key(top),
        client=client,
        hermod=hermod,
        providers=MappingProxyType(found.providers),
        custom_names=found.custom_names,
        unconfigured=(
            unconfigured(rows, found.providers, hermod) if client.allow_direct_keys else {}
        ),
        prices=prices,
        auth=AuthSettings(
            jwt_issuers=tokens.issuers,
            own_issuer=tokens.own_issuer,
            own_audience=tokens.own_audience,
            token_life_s=tokens.token_life_s,
            admin_username=login.username,
            admin_password=login.password,
            admin_enabled=login.enabled,
            auth_on_inference=login.enabled and not login.leaves_inference_open,
        ),
        governance=entities,
        cloud={name: text for name, text in environ.items() if _CLOUD.match(name)},
    )
    check_doors(
        launch,
        login,
        theirs,
        allowed_origins=client.allowed_origins,
        loopback=loopback,
        enforced=client.enforce_auth_on_inference,
    )
    keys = [entity for entity in entities if isinstance(entity, VirtualKey)]
    check_templates(
        ours.section("auth"), tokens, {text: key for key in keys for text in (key.id, key.name)}
    )
    check_management(settings, report)
    check_files(settings, report, login.section)
    _cross_check(ours, settings)
    _keys_to_keep(theirs, settings)
    for key, kind, reason in _TOP_LATER:
        top.later(key, kind, reason)
    top.finish()
    if report.problems:
        raise ConfigError(in_file_order(report.problems))
    return Loaded(settings, in_file_order(report.warnings), tuple(report.ignored))


def _hermod(section: Section, client: ClientSettings, *, version: int) -> HermodSettings:
    """Our own section. `version` is that of Bifrost's file: 1 gives empty lists the meaning of its
    releases until 1.4, where nothing else is said."""
    usual = HermodSettings()
    hermod = HermodSettings(
        lease_s=section.number("lease_s", usual.lease_s, 0.1, _DAY_S),
        renew_s=section.number("renew_s", usual.renew_s, 0.01, _DAY_S),
        upkeep_s=section.number("upkeep_s", usual.upkeep_s, 0.01, 3600),
        worker_slots=section.integer("worker_slots", usual.worker_slots, 1, 100_000),
        attempt_timeout_s=section.number(
            "attempt_timeout_s", usual.attempt_timeout_s, 0.01, 7 * _DAY_S
        ),
        idle_timeout_s=section.number("idle_timeout_s", usual.idle_timeout_s, 0.01, 7 * _DAY_S),
        connect_timeout_s=section.number("connect_timeout_s", usual.connect_timeout_s, 0.01, 3600),
        max_reply_mb=section.integer("max_reply_mb", usual.max_reply_mb, 1, 4096),
        job_deadline_s=section.number("job_deadline_s", usual.job_deadline_s, 0.01, _YEAR_S),
        queue_wait_s=section.number("queue_wait_s", usual.queue_wait_s, 0.01, _YEAR_S),
        drain_s=section.number("drain_s", usual.drain_s, 0, _DAY_S),
        database_wait_s=section.number("database_wait_s", usual.database_wait_s, 0, _DAY_S),
        max_retries=section.integer("max_retries", usual.max_retries, 0, 100),
        retry_backoff_initial_ms=section.milliseconds(
            "retry_backoff_initial_ms", usual.retry_backoff_initial_ms, 3_600_000
        ),
        retry_backoff_max_ms=section.milliseconds(
            "retry_backoff_max_ms", usual.retry_backoff_max_ms, 3_600_000
        ),
        forward_unknown_fields=section.flag(
            "forward_unknown_fields", default=usual.forward_unknown_fields
        ),
        # A default gives way to what was written: an imported body limit must fit in.
        body_budget_mb=section.integer(
            "body_budget_mb",
            max(usual.body_budget_mb, client.max_request_body_size_mb),
            1,
            1_048_576,
        ),
        synchronous=section.choice("synchronous", usual.synchronous, ("FULL", "EXTRA", "NORMAL")),
        mock=section.flag("mock", default=usual.mock),
        strict_prices=section.flag("strict_prices", default=usual.strict_prices),
        on_limit=section.choice("on_limit", usual.on_limit, ("delay", "reject")),
        empty_lists=section.choice(
            "empty_lists", "all" if version == 1 else usual.empty_lists, ("none", "all")
        ),
        assumed_output_tokens=section.integer(
            "assumed_output_tokens", usual.assumed_output_tokens, 1, 10_000_000
        ),
    )
    section.finish()
    return hermod


def _encryption_key(top: Section) -> Secret:
    """The key for secrets at rest: ours, then the file's, then Bifrost's variable."""
    environ = top.source.environ
    if ours := environ.get("HERMOD_ENCRYPTION_KEY"):
        top.take("encryption_key")
        return Secret(ours)
    return top.secret("encryption_key") or Secret(environ.get("BIFROST_ENCRYPTION_KEY", ""))


def _previous_key(top: Section) -> Secret:
    """The one that it took the place of, while there is something sealed with it."""
    if ours := top.source.environ.get("HERMOD_ENCRYPTION_KEY_PREVIOUS"):
        top.take("encryption_key_previous")
        return Secret(ours)
    return top.secret("encryption_key_previous")


def _keys_to_keep(client: Section, settings: Settings) -> None:
    """Callers' keys are stored with their jobs, and never in plain (design.md 8, 28)."""
    has_key = bool(settings.encryption_key) or settings.database_path is not None
    if settings.client.allow_direct_keys and not has_key:
        client.warn(
            "jobs with a key of their caller's are refused, as there is no encryption_key to store "
            "it with",
            "allow_direct_keys",
        )


def _cross_check(ours: Section, settings: Settings) -> None:
    """Rules between settings."""
    hermod, client = settings.hermod, settings.client
    if hermod.renew_s >= hermod.lease_s / 2:
        ours.problem(
            f"a lease of {hermod.lease_s:g} s must be renewed at least twice in its time: "
            f"renew_s is {hermod.renew_s:g}, make it less than {hermod.lease_s / 2:g}",
            "renew_s" if "renew_s" in ours.members else "lease_s",
        )
    if hermod.retry_backoff_initial_ms > hermod.retry_backoff_max_ms:
        ours.problem(
            f"the first wait, {hermod.retry_backoff_initial_ms} ms, is longer than the longest, "
            f"{hermod.retry_backoff_max_ms} ms",
            next(key for key in _BACKOFFS if key in ours.members),
        )
    if hermod.body_budget_mb < client.max_request_body_size_mb:
        ours.problem(
            "one body of client.max_request_body_size_mb "
            f"({client.max_request_body_size_mb}) must fit into it, got {hermod.body_budget_mb}",
            "body_budget_mb",
        )
    late = f"longer than a whole job may take, hermod.job_deadline_s = {hermod.job_deadline_s:g}"
    if hermod.attempt_timeout_s > hermod.job_deadline_s:
        ours.warn(f"{hermod.attempt_timeout_s:g} s is {late}", "attempt_timeout_s")
    for name, provider in settings.providers.items():
        if hermod.job_deadline_s < provider.attempt_timeout_s != hermod.attempt_timeout_s:
            seconds = f"{provider.attempt_timeout_s:g} s"
            ours.source.report.warn(f"providers.{name}: an attempt of {seconds} is {late}")
