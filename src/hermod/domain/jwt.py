"""Who may issue tokens, and what their claims mean here (`hermod.auth.jwt`)."""

from dataclasses import dataclass, field
from typing import Final

from hermod.domain.provider import NO_SECRET, Secret

_DAY_S: Final = 86_400.0
LONGEST_LIFETIME_S: Final = 366 * _DAY_S
TOKEN_LIFE_S: Final = 90 * _DAY_S

PUBLIC_KEY_ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""RFC 7518, 3.1 and RFC 8037: who can check a token cannot make one."""
SHARED_SECRET_ALGORITHMS: Final = ("HS256", "HS384", "HS512")
SHORTEST_SECRET_BYTES: Final = 32
"""RFC 7518, 3.2: as long as the hash of HS256."""


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Where a token says what. Of several names the first one that the token has counts."""

    virtual_key: tuple[str, ...] = ("vk_id", "vk", "client_id")
    """A virtual key, by its id or name."""
    tenant: tuple[str, ...] = ("tenant",)
    """When a token has it, it must be the virtual key's customer."""
    role: tuple[str, ...] = ("role",)
    scope: tuple[str, ...] = ("scope",)
    """Words with blanks between them, or a list."""


@dataclass(frozen=True, slots=True)
class JwtIssuer:
    """Whose tokens are taken, and what proves that they are theirs.

    Exactly one of `jwks_url`, `jwks`, `public_key` and `secret` is set, and `algorithms` has only
    names that fit it.
    """

    issuer: str
    """Equal to `iss`, byte for byte."""
    audience: tuple[str, ...]
    """`aud` must hold one of them."""
    algorithms: tuple[str, ...]
    jwks_url: str = ""
    jwks: str = ""
    """A JSON Web Key Set, as its file had it at the start (RFC 7517, 5)."""
    public_key: str = ""
    """PEM."""
    secret: Secret = NO_SECRET
    leeway_s: float = 60.0
    """What clocks may differ by."""
    max_lifetime_s: float = LONGEST_LIFETIME_S
    """The longest `exp` - `iat` that is taken."""
    claims: ClaimNames = field(default_factory=ClaimNames)
    admin_roles: tuple[str, ...] = ()
    """A token with one of these roles is an admin's. None: no token is, by its role."""
    admin_scopes: tuple[str, ...] = ()
    unmapped: str = "reject"
    """What becomes of a token whose virtual key there is not: `reject`, or `auto_register`."""
    template: str = ""
    """Id or name of the virtual key that `auto_register` copies."""


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Everything about tokens: other people's, and those that the gateway makes."""

    issuers: tuple[JwtIssuer, ...] = ()
    own_issuer: str = "hermod"
    """`iss` of tokens that the gateway makes."""
    own_audience: str = "hermod"
    token_life_s: float = TOKEN_LIFE_S
