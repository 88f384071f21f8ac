"""The database's URL: what is wrong with it, and how it is shown."""

import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from hermod.domain.provider import Secret

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")
_EXAMPLE: Final = "postgresql://USER:PASSWORD@HOST:5432/NAME"
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSION_ATTRS: Final = ("any", "primary", "read-write")
"""Those with which jobs can be stored."""
_NOT_OURS: Final = (
    "channel_binding", "client_encoding", "connect_timeout", "fallback_application_name",
    "gssencmode", "hostaddr", "keepalives", "keepalives_count", "keepalives_idle",
    "keepalives_interval", "load_balance_hosts", "replication", "requirepeer", "requiressl",
    "sslcompression", "sslsni", "tcp_user_timeout",
)  # fmt: skip
"""Parameters of libpq that the driver would take for settings of the server, which refuses them."""
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_SECRETS: Final = ("password", "sslpassword")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]:]+)(?::(?P<port>.*))?")


class Database(NamedTuple):
    """Where the jobs are kept."""

    shown: str
    """The URL without a password."""
    url: Secret
    path: Path | None
    """The file; None where a server keeps it."""


def default_url(app_dir: Path) -> str:
    """The embedded database of an app directory."""
    return f"{_SQLITE}{quote(str(app_dir / 'hermod.db'))}"


def database_at(url: str) -> Database:
    """The database of a URL with which `database_fault` found nothing wrong."""
    if url.startswith(_POSTGRES):
        return Database(_without_password(url), Secret(url), None)
    return Database(url, Secret(url), Path(unquote(url.removeprefix(_SQLITE))))


def database_fault(url: str, usual: str) -> str:
    """What is wrong with a URL, and what to write; empty when nothing is.

    Never repeats the URL: it may hold a password. `usual` is the one we would have taken.
    """
    if url.startswith(_POSTGRES):
        return _postgres_fault(url)
    if not url.startswith(_SQLITE) or "?" in url or "#" in url:
        return (
            "expected sqlite:///FILE (four slashes before an absolute path), for instance "
            f"{usual}, or {_EXAMPLE}"
        )
    if url.removeprefix(_SQLITE) in ("", ":memory:"):
        return "a database in memory cannot keep what was accepted: name a file"
    return ""


def _postgres_fault(url: str) -> str:
    encode = "characters other than letters, digits and -._~ are written as % and two hex digits"
    if re.search(r"[\x00-\x20\x7f]", url) or "#" in url:
        return f"a blank or a # cannot stand in a URL: in a name or password, {encode}"
    try:
        parts = urlsplit(url)
        parameters = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        return f"not a URL: expected {_EXAMPLE}?sslmode=require; in a password, {encode}"
    login, _, hosts = parts.netloc.rpartition("@")
    if "@" in login:
        return f"more than one @ before the host: in a name or password, {encode} (@ is %40)"
    fault = _host_fault(hosts) if hosts else ""
    if not hosts and not parameters.get("host"):
        fault = f"the host is missing: expected {_EXAMPLE}, or ?host=DIRECTORY for a local socket"
    if fault:
        return fault
    wanted = parameters.get("target_session_attrs", "any")
    if wanted not in _SESSION_ATTRS:
        return f"target_session_attrs: expected one of {', '.join(_SESSION_ATTRS)}"
    mode = parameters.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        return f"sslmode: expected one of {', '.join(_SSL_MODES)}"
    if found := [name for name in _NOT_OURS if name in parameters]:
        return f"{', '.join(found)}: not understood here, leave it out"
    # Unlike libpq the driver does not know `system`, and of a missing file it says no name.
    for name in _FILES:
        if name in parameters and not Path(parameters[name]).is_file():
            return f"{name}: there is no file {parameters[name]}"
    return ""


def _host_fault(hosts: str) -> str:
    for host in hosts.split(","):
        found = _HOST.fullmatch(host)
        if found is None:
            return f"the host is missing or malformed: expected {_EXAMPLE}"
        port = found["port"]
        if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            return (
                "the port must be a number from 1 to 65535 "
                "(in a password, : is written as %3A and / as %2F)"
            )
    return ""


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    shown = [text for text in parts.query.split("&") if text.partition("=")[0] not in _SECRETS]
    return parts._replace(
        netloc=f"{user}@{hosts}" if user else hosts, query="&".join(filter(None, shown))
    ).geturl()
