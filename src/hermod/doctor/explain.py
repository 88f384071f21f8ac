"""Why a provider cannot be reached, or what it says, in a sentence; and what to do about it.

Names of keys, files and variables are told, never a value.
"""

import json
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from hermod.doctor.finding import Grade
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.net.messages import NetError, Reason, Reply
from hermod.providers.upstream_errors import is_html, refusal

_SHOWN: Final = 200
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY")
# X509_V_ERR_… of OpenSSL's x509_vfy.h
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
_WRONG_NAME: Final = frozenset({62, 64})
_PLAIN: Final = re.compile("WRONG_VERSION_NUMBER|HTTP_REQUEST|UNKNOWN_PROTOCOL|RECORD_LAYER")


class Told(NamedTuple):
    """A judgement."""

    grade: Grade
    text: str
    remedy: str = ""


class Asked(NamedTuple):
    """Who was asked, and what for."""

    provider: ProviderSettings
    key: KeySettings | None
    url: str
    environ: Mapping[str, str]

    @property
    def host(self) -> str:
        """The host, with its port if it is an unusual one."""
        return urlsplit(self.url).netloc

    @property
    def is_usual(self) -> bool:
        """Whether it is the provider's own address, not one that somebody wrote."""
        row = self.provider.row
        own = self.key is not None and self.key.base_url is not None
        return self.provider.base_url == row.base_url and not own

    @property
    def place(self) -> str:
        """Where the key's value was configured."""
        provider, key = self.provider, self.key
        if key is None:
            return provider.origin
        if provider.origin in (*provider.row.key_env, *provider.row.url_env):
            return key.name  # found in the environment, and called like its variable
        return f"the key {json.dumps(key.name)} of providers.{provider.name} in {provider.origin}"

    @property
    def address_place(self) -> str:
        """Where the address was configured, or would be."""
        provider, key = self.provider, self.key
        if provider.origin in provider.row.url_env:
            return provider.origin
        if key is not None and key.azure is not None and key.azure.endpoint:
            return f"azure_key_config.endpoint of {self.place}"
        if key is not None and key.base_url:
            return f"the url of {self.place}"
        return f"providers.{provider.name}.network_config.base_url"


def no_reply(asked: Asked, error: NetError, timeout_s: float) -> Told:
    """Why there is no reply."""
    cause = error.__cause__
    match error.reason:
        case Reason.TLS if isinstance(cause, ssl.SSLError):
            text, remedy = _distrust(asked, cause)
        case Reason.CONNECT if isinstance(cause, socket.gaierror):
            text = f"the name {_bare(asked.host)} cannot be resolved"
            remedy = "check this machine's DNS and its way out"
            if not asked.is_usual:
                remedy = f"correct {asked.address_place}, or {remedy}"
        case Reason.CONNECT if isinstance(cause, ConnectionRefusedError):
            text = f"nobody listens at {asked.host}"
            remedy = f"start it there, or correct {asked.address_place}"
        case Reason.CONNECT:
            said = getattr(cause, "strerror", None) or "no connection"
            text = f"{asked.host} cannot be reached: {said}"
            remedy = f"check the network and {asked.address_place}"
        case Reason.TIMEOUT_CONNECT:
            text = f"no connection to {asked.host} within {timeout_s:g} s"
            remedy = f"a firewall may be in the way; check {asked.address_place}"
        case Reason.TIMEOUT_TOTAL | Reason.TIMEOUT_IDLE:
            text = f"no answer from {asked.host} within {timeout_s:g} s"
            remedy = "try again; if it stays so, look at the provider's status page"
        case Reason.INVALID:
            text = f"the request cannot be sent: {error.detail}"
            remedy = f"correct {asked.address_place} or what the sentence names"
        case _:
            text = f"{asked.host} broke the connection or does not speak HTTP: {error.detail}"
            remedy = f"check {asked.address_place}"
    proxy = next((name for name in _PROXIES if asked.environ.get(name)), None)
    if proxy is not None and not error.sent:
        remedy += f"; {proxy} is set, but calls go out directly: this release uses no proxy"
    return Told(Grade.ERROR, text, remedy)


def _distrust(asked: Asked, cause: ssl.SSLError) -> tuple[str, str]:
    """Of a handshake that failed."""
    pem = f"providers.{asked.provider.name}.network_config.ca_cert_pem"
    if isinstance(cause, ssl.SSLCertVerificationError):
        code = cause.verify_code
        said = cause.verify_message or "refused"
        if code == _EXPIRED:
            return (
                f"the certificate of {asked.host} has expired",
                "have it renewed; if it is good elsewhere, set this machine's clock",
            )
        if code == _NOT_YET:
            return f"the certificate of {asked.host} is not valid yet", "set this machine's clock"
        if code in _UNKNOWN_ISSUER:
            return (
                f"the certificate of {asked.host} is signed by an authority that is not known "
                f"here ({said})",
                f"put the authority's certificate into {pem}, or name a file of them in "
                "SSL_CERT_FILE; a company's proxy may be signing",
            )
        if code in _WRONG_NAME:
            return (
                f"{asked.host} shows a certificate for another name",
                f"correct the host in {asked.address_place}",
            )
        return f"the certificate of {asked.host} is not accepted: {said}", f"see {pem}"
    if _PLAIN.search(cause.reason or ""):
        return (
            f"{asked.host} does not speak TLS at this port",
            f"write http:// instead of https://, or another port, in {asked.address_place}",
        )
    return (
        f"no TLS with {asked.host}: {cause.reason or cause}",
        "it may be too old, or a proxy is in the way",
    )


def refused(asked: Asked, reply: Reply) -> Told:
    """What a reply means that is no success."""
    status = reply.status
    if 300 <= status < 400:
        to = urlsplit(reply.header("location") or "").netloc
        text = f"{asked.host} sends us on{f' to {to}' if to else ''} ({status})"
        return Told(Grade.ERROR, text, f"correct {asked.address_place}: redirects are not followed")
    said = _said(reply)
    shown = f"{status}: {said}" if said else str(status)
    match status:
        case 401 | 403 if asked.key is None:
            text = f"{asked.host} wants a key ({shown})"
            return Told(Grade.ERROR, text, f"give {asked.provider.name} a key")
        case 401:
            remedy = f"check the value of {asked.place}: is it whole, current, and of this account?"
            return Told(Grade.ERROR, f"the key was refused ({shown})", remedy)
        case 403:
            remedy = f"allow what is missing, or use another key for {asked.place}"
            return Told(Grade.ERROR, f"the key may not do this ({shown})", remedy)
        case 402:
            text = f"the account has no credit left ({shown})"
            return Told(Grade.ERROR, text, f"top up the account of {asked.place}")
        case 429:
            text = f"the key was accepted, and is over a limit ({shown})"
            return Told(Grade.WARNING, text, "wait, or raise the account's limits")
        case 400 | 404 | 405 | 422:
            text = f"{asked.host} answers, but not to this question ({shown}): cannot be tried"
            return Told(Grade.WARNING, f"{text} without cost", f"is {asked.address_place} right?")
        case _:
            text = f"{asked.host} has trouble ({shown})"
            return Told(Grade.WARNING, text, "try again; look at the provider's status page")


def no_list(asked: Asked, reply: Reply) -> Told:
    """Of a success that is no answer to the question."""
    if is_html(reply.content_type, reply.body):
        text = f"{asked.host} answers with a page for people"
    else:
        text = f"{asked.host} answers, but not as {asked.provider.row.name} does"
    return Told(Grade.ERROR, text, f"check {asked.address_place}: it is the root, without /v1")


def _said(reply: Reply) -> str:
    if not reply.body.strip() or is_html(reply.content_type, reply.body):
        return ""
    said = " ".join(refusal(reply.status, reply.content_type, reply.body).message.split())
    shown = "".join(letter if letter.isprintable() else "?" for letter in said)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"


def _bare(host: str) -> str:
    return host.rpartition("@")[2].partition(":")[0]
