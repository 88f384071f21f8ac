"""Addresses and header values: what can be sent, and what an operator meant."""

import ipaddress
import re
from urllib.parse import urlsplit

from hermod.domain.headers import UNSENDABLE


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reachable from this machine only."""
    address = _ip(host)
    if address is None:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def address_fault(url: str, *, query: bool = False) -> str:
    """What is wrong with an upstream's address, empty when nothing is. Never repeats the address.

    `query` permits one, in a URL that is used whole.
    """
    if not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
        return "is not an address: it holds a blank, a backslash or a letter beyond ASCII"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    else:
        if usable and (parts.username is not None or parts.password is not None):
            return "must not hold a user name or password: use keys or extra_headers"
        if usable and ("#" in url or ("?" in url and not query)):
            return "must not hold a query or a fragment"
    return "" if usable else "expected an address such as https://api.example.com"


def header_value_fault(value: str) -> str:
    """What keeps a text from being sent as a header's value, empty when nothing does."""
    bad = UNSENDABLE.search(value)
    if not bad:
        return ""
    return (
        f"cannot be sent in a header: it holds the character U+{ord(bad[0]):04X} at position "
        f"{bad.start() + 1} (a line break at the end of a copied key?)"
    )


def host_address(text: str, usual: str) -> str:
    """An address from a variable in the manner of `OLLAMA_HOST`: scheme and port may be missing.

    The server reads the same variable as the address it binds to, so "any address" means here.
    """
    text = text.strip()
    if re.search("[@?#]", text):
        return text  # to be found fault with as it is
    try:
        parts, default = urlsplit(text if "://" in text else f"//{text}"), urlsplit(usual)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return text
    address = _ip(host)
    if not host or (address and address.is_unspecified):
        host = default.hostname or ""
    elif isinstance(address, ipaddress.IPv6Address):
        host = f"[{host}]"
    if not parts.scheme:
        port = port or default.port
    whole = f"{parts.scheme or default.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
    return whole.rstrip("/")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
