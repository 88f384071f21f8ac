"""`hermod.auth`: whose tokens are taken (product.md 2.3), and those that the gateway makes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

from hermod.config.addresses import address_fault, is_loopback
from hermod.config.section import Section, did_you_mean
from hermod.domain.duration import duration_s
from hermod.domain.governance import VirtualKey
from hermod.domain.jwt import (
    LONGEST_LIFETIME_S,
    PUBLIC_KEY_ALGORITHMS,
    SHARED_SECRET_ALGORITHMS,
    SHORTEST_SECRET_BYTES,
    TOKEN_LIFE_S,
    ClaimNames,
    JwtIssuer,
    JwtSettings,
)
from hermod.domain.provider import NO_SECRET, Secret

_PROOFS: Final = ("jwks_url", "jwks_file", "public_key", "secret")
_DAY_S: Final = 86_400.0
_LONGEST_LEEWAY_S: Final = 600.0
_SHORTEST_LIFE_S: Final = 60.0
_PEM: Final = "-----BEGIN "


def read_tokens(auth: Section) -> JwtSettings:
    """Everything under `hermod.auth`."""
    usual = JwtSettings()
    jwt = auth.section("jwt")
    issuers = tuple(_issuer(each) for each in jwt.sections("issuers"))
    jwt.finish()
    tokens = JwtSettings(
        issuers=issuers,
        own_issuer=auth.text("issuer") or usual.own_issuer,
        own_audience=auth.text("audience") or usual.own_audience,
        token_life_s=_duration_s(auth, "token_life", TOKEN_LIFE_S, LONGEST_LIFETIME_S),
    )
    auth.finish()
    names = [tokens.own_issuer]
    for index, issuer in enumerate(issuers):
        if issuer.issuer and issuer.issuer in names:
            own = issuer.issuer == tokens.own_issuer
            whose = "the gateway's own (hermod.auth.issuer)" if own else "another one's"
            jwt.problem(f"is {whose} too: a token must have one", "issuers", index, "issuer")
        names.append(issuer.issuer)
    return tokens


def check_templates(auth: Section, tokens: JwtSettings, keys: Mapping[str, VirtualKey]) -> None:
    """Whether the virtual keys that `auto_register` copies are in the file; `keys` by id and by
    name."""
    for index, issuer in enumerate(tokens.issuers):
        if issuer.template and issuer.template not in keys:
            place = ("jwt", "issuers", index, "template")
            auth.warn(
                "no virtual key of this file has that id or name: make one over the API", *place
            )


def _issuer(section: Section) -> JwtIssuer:
    name = section.text("issuer") or ""
    if not name:
        section.problem('missing: what tokens have as "iss"', "issuer")
    audience = section.words("audience")
    if not audience or not all(audience):
        section.problem(
            'missing: what tokens for this gateway have as "aud"; without it, tokens for others '
            "would be taken",
            "audience",
        )
    given = [key for key in _PROOFS if section.has(key)]
    if len(given) != 1:
        which = f"has {len(given)} of them" if given else "missing"
        section.problem(f"{which}: exactly one of {', '.join(_PROOFS)} says whose tokens they are")
    admin, claims = section.section("admin"), section.section("claims")
    usual = ClaimNames()
    unmapped = section.choice("unmapped", "reject", ("reject", "auto_register"))
    issuer = JwtIssuer(
        issuer=name,
        audience=audience,
        algorithms=_algorithms(section, shared="secret" in given),
        jwks_url=_jwks_url(section),
        jwks=_jwks(section),
        public_key=_public_key(section),
        secret=_shared_secret(section) if "secret" in given else NO_SECRET,
        leeway_s=section.number("leeway_seconds", 60.0, 0.0, _LONGEST_LEEWAY_S),
        max_lifetime_s=_duration_s(
            section, "max_lifetime", LONGEST_LIFETIME_S, 100 * LONGEST_LIFETIME_S
        ),
        claims=ClaimNames(
            virtual_key=claims.words("virtual_key") or usual.virtual_key,
            tenant=claims.words("tenant") or usual.tenant,
            role=claims.words("role") or usual.role,
            scope=claims.words("scope") or usual.scope,
        ),
        admin_roles=admin.words("role"),
        admin_scopes=admin.words("scope"),
        unmapped=unmapped,
        template=section.text("template") or "",
    )
    if unmapped == "auto_register" and not issuer.template:
        section.problem("missing: the virtual key that new ones are made like", "template")
    for each in (admin, claims, section):
        each.finish()
    return issuer


def _algorithms(section: Section, *, shared: bool) -> tuple[str, ...]:
    """The allowed ones. Those of a shared secret are never among those of public keys: whoever
    knows a public key could sign with it (RFC 8725, 3.1)."""
    fitting = SHARED_SECRET_ALGORITHMS if shared else PUBLIC_KEY_ALGORITHMS
    if not section.has("algorithms"):
        return ("HS256",) if shared else ("RS256", "ES256")
    found: list[str] = []
    for index, text in section.texts_by_index("algorithms"):
        if text in fitting:
            found.append(text)
        elif text.lower() == "none":
            section.problem("a token without a signature proves nothing", "algorithms", index)
        elif text in SHARED_SECRET_ALGORITHMS:
            section.problem(
                "HS… is for a shared secret, and never beside public keys", "algorithms", index
            )
        elif text in PUBLIC_KEY_ALGORITHMS:
            section.problem(
                "is for public keys, and this issuer has a secret: HS256, HS384 or HS512",
                "algorithms",
                index,
            )
        else:
            words = ", ".join(fitting)
            section.problem(
                f"expected one of {words}{did_you_mean(text, fitting)}", "algorithms", index
            )
    if section.members["algorithms"] == []:
        section.problem(f"names none: {', '.join(fitting)}", "algorithms")
    return tuple(found)


def _jwks_url(section: Section) -> str:
    insecure = section.flag("allow_insecure")
    url = section.text("jwks_url") or ""
    if not url:
        return ""
    if fault := address_fault(url, query=True):
        section.problem(fault, "jwks_url")
        return ""
    parts = urlsplit(url)
    if parts.scheme != "https" and not insecure and not is_loopback(parts.hostname or ""):
        section.problem(
            "whoever is on the way could put keys of their own in its place: use https, or say "
            '"allow_insecure": true',
            "jwks_url",
        )
    return url


def _jwks(section: Section) -> str:
    text = _file(section, "jwks_file", section.text("jwks_file") or "")
    if not text:
        return ""
    try:
        whole: object = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    keys = cast("dict[str, object]", whole).get("keys") if isinstance(whole, dict) else None
    if not isinstance(keys, list) or not keys:
        section.problem('expected a JSON Web Key Set: {"keys": [ … ]}', "jwks_file")
        return ""
    for key in cast("list[object]", keys):
        members = cast("dict[str, object]", key) if isinstance(key, dict) else {}
        if "d" in members or "k" in members:
            section.problem(
                "holds a private key or a secret: give the gateway the public part", "jwks_file"
            )
            return ""
    return text


def _public_key(section: Section) -> str:
    """PEM: the text itself, or of the file that is named."""
    written = section.secret("public_key").reveal()
    if not written:
        return ""
    text = written if _PEM in written else _file(section, "public_key", written)
    if text and "PRIVATE KEY-----" in text:
        section.problem("is a private key: give the gateway the public one", "public_key")
    elif text and "PUBLIC KEY-----" not in text:
        section.problem("expected PEM, -----BEGIN PUBLIC KEY-----, or a file of it", "public_key")
    return text


def _shared_secret(section: Section) -> Secret:
    secret = section.secret("secret")
    if len(secret.reveal().encode()) < SHORTEST_SECRET_BYTES:
        section.problem(
            f"needs {SHORTEST_SECRET_BYTES} bytes at least, or it can be found by trying: "
            "openssl rand -hex 32",
            "secret",
        )
    return secret


def _file(section: Section, key: str, name: str) -> str:
    """The text of a file beside the configuration; empty when there is none."""
    if not name:
        return ""
    path = Path(section.source.document.name).parent / name
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        section.problem(f"the file it names cannot be read: {why}", key)
        return ""


def _duration_s(section: Section, key: str, default: float, longest_s: float) -> float:
    """Seconds as a number, or a duration: `90d`, `2w`, `12h`."""
    value = section.take(key)
    if not isinstance(value, str):
        return section.number(key, default, _SHORTEST_LIFE_S, longest_s)
    seconds = duration_s(value)
    if seconds is None or not _SHORTEST_LIFE_S <= seconds <= longest_s:
        section.problem(
            f'expected seconds, or a duration such as "90d" or "12h", up to {longest_s / _DAY_S:g} '
            "days",
            key,
        )
        return default
    return seconds
