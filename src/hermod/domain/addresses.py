"""Which addresses of the internet are public: what a provider made over the API may be called at.

Python's `ipaddress.is_global` takes several forms that lead into a private network for public ones
(NAT64, 6to4, site-local, multicast, depending on the release), so the ranges stand here. Sources:
IANA's special-purpose registries for IPv4 and IPv6, RFC 6890, RFC 6052 and 8215 (NAT64), RFC 3056
(6to4), RFC 4380 (Teredo), RFC 3879 (site-local).
"""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

_V4: Final = tuple(
    (ipaddress.IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "metadata"),  # Azure's host, at an address that looks public
        ("169.254.0.0/16", "link-local"),  # with the clouds' 169.254.169.254
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6: Final = tuple(
    (ipaddress.IPv6Network(network), what)
    for network, what in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible"),
        ("::ffff:0:0:0/96", "translated"),
        ("64:ff9b:1::/48", "NAT64 of a local network"),
        ("2001::/32", "Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2001::/23", "reserved"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
_CARRIES_V4: Final = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0, "IPv4-mapped"),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0, "NAT64"),
    (ipaddress.IPv6Network("2002::/16"), 80, "6to4"),
)
"""Forms with an IPv4 address inside, how many bits stand behind it, and what they are called."""

_HERE: Final = re.compile(r"(?:.*\.)?(?:localhost|localhost6|localdomain)")
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")


def not_public(address: str) -> str:
    """Why an address is not public, in a word or two; empty when it is.

    What is no IP address is not public.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "no address"
    if isinstance(found, ipaddress.IPv4Address):
        return _not_public_v4(found)
    for network, shift, form in _CARRIES_V4:
        if found in network:
            inner = ipaddress.IPv4Address(int(found) >> shift & 0xFFFF_FFFF)
            why = _not_public_v4(inner)
            return f"{form} of {why}" if why else ""
    for network, what in _V6:
        if found in network:
            return what
    return "" if found in _GLOBAL else "reserved"


def _not_public_v4(address: ipaddress.IPv4Address) -> str:
    return next((what for network, what in _V4 if address in network), "")


def written_private(url: str) -> str:
    """Why the host of a URL is known not to be public without asking anybody; else empty.

    Names are judged when they are resolved; what is caught here is what can only be a mistake.
    """
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return "no address"
    host = host.rstrip(".")
    if _HERE.fullmatch(host):
        return "loopback"
    numeric = _as_inet_aton(host)
    if numeric is not None:
        return not_public(numeric)
    return not_public(host) if ":" in host else ""


def _as_inet_aton(host: str) -> str | None:
    """The address that C's `inet_aton` makes of a text: `127.1`, `0x7f000001`, `0177.0.0.1`, …

    None for what it takes for a name. `getaddrinfo` asks it first.
    """
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        values = [_number(part) for part in parts]
    except ValueError:
        return "invalid"
    whole = values.pop()
    if whole >= 256 ** (4 - len(values)) or any(value > 255 for value in values):
        return "invalid"
    for place, value in enumerate(values):
        whole |= value << (24 - 8 * place)
    return str(ipaddress.IPv4Address(whole))


def _number(part: str) -> int:
    """Raises ValueError."""
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if len(part) > 1 and part.startswith("0") else int(part)
