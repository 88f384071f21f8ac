"""Who is let in: admins by name and password, and whether callers need a credential."""

from typing import Final, NamedTuple, cast

from hermod.config.client import ENFORCING
from hermod.config.section import Section
from hermod.domain.provider import NO_SECRET, Secret

SHORTEST_PASSWORD: Final = 8


class AdminLogin(NamedTuple):
    """`auth_config`, wherever it was written (wire-contract 10.4)."""

    section: Section
    """Where it was."""
    username: str = ""
    password: Secret = NO_SECRET
    enabled: bool = False
    leaves_inference_open: bool = False
    """`disable_auth_on_inference`"""


def read_admin_login(governance: Section, top: Section) -> AdminLogin:
    """`governance.auth_config`, or `auth_config` in its older place."""
    newer, older = governance.section("auth_config"), top.section("auth_config")
    if not newer.members:
        return _login(older)
    if older.members:
        if older.flag("is_enabled") != newer.flag("is_enabled"):
            older.problem(
                "says other than governance.auth_config: keep one of the two", "is_enabled"
            )
        top.ignored("governance.auth_config is the newer place, and counts", "auth_config")
    return _login(newer)


def _login(section: Section) -> AdminLogin:
    login = AdminLogin(
        section,
        section.secret("admin_username").reveal(),
        section.secret("admin_password"),
        section.flag("is_enabled"),
        section.flag("disable_auth_on_inference"),
    )
    section.finish()
    if not login.enabled:
        return login
    if not login.username:
        section.problem("missing: is_enabled asks for a name", "admin_username")
    elif ":" in login.username:
        # RFC 7617, 2: what stands after the first colon is the password.
        section.problem("a name with a colon cannot be sent", "admin_username")
    if not login.password:
        section.problem("missing: is_enabled asks for a password", "admin_password")
    return login


def is_enforced(client: Section, top: Section) -> bool:
    """Whether calls need a credential: the switch under its three names, and the one that the
    governance plugin once had."""
    named = [client.flag(key) for key in ENFORCING]
    plugins = top.take("plugins")
    if not isinstance(plugins, list):
        return any(named)
    for plugin in cast("list[object]", plugins):
        members = cast("dict[str, object]", plugin) if isinstance(plugin, dict) else {}
        config = members.get("config")
        if members.get("name") != "governance" or not isinstance(config, dict):
            continue
        wanted = cast("dict[str, object]", config).get("is_vk_mandatory") is True
        named.append(wanted and members.get("enabled") is not False)
    return any(named)
