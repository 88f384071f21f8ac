"""What may not be reachable by others: rules of a safe start (reliability.md S8)."""

import stat
from pathlib import Path
from typing import Final

from hermod.config.auth import SHORTEST_PASSWORD, AdminLogin
from hermod.config.launch import Launch
from hermod.config.section import Report, Section
from hermod.config.settings import Settings

_ANY_ORIGIN: Final = "*"
_OTHERS_READ: Final = stat.S_IROTH
_OTHERS_ENTER: Final = stat.S_IXOTH


def check_doors(
    launch: Launch,
    login: AdminLogin,
    client: Section,
    *,
    allowed_origins: tuple[str, ...],
    loopback: bool,
    enforced: bool,
) -> None:
    """Whoever asked for a locked door must not get an open one, and nobody opens one to others
    without a secret."""
    report = login.section.source.report
    # What a worker answers needs no credential, so it asks for no secret either.
    exposed = not loopback and launch.role != "worker"
    if exposed and not launch.admin_token and not (login.enabled and login.password):
        host = launch.host or "an empty host"
        report.problem(
            f"{launch.host_given.place}: {host} can be reached from other machines: set "
            "HERMOD_ADMIN_TOKEN to a secret of your own, or use 127.0.0.1",
            launch.host_given.at,
        )
    if login.enabled and 0 < len(login.password.reveal()) < SHORTEST_PASSWORD:
        text = f"{SHORTEST_PASSWORD} characters at least, or it can be found by trying"
        tell = login.section.problem if exposed else login.section.warn
        tell(text, "admin_password")
    if exposed and login.enabled and login.leaves_inference_open and not enforced:
        login.section.problem(
            "would let everybody call who can reach this gateway: remove it, as calls need a "
            "credential on an address such as this, or bind to 127.0.0.1",
            "disable_auth_on_inference",
        )
    if login.enabled and _ANY_ORIGIN in allowed_origins:
        client.warn(
            "any website may use the gateway with the login of an admin who looks at it: name the "
            "origins that need it",
            "allowed_origins",
        )


def check_management(settings: Settings, report: Report) -> None:
    """Warn where nobody can manage the gateway (`/api/*`)."""
    auth = settings.auth
    has_admin = (
        settings.admin_token
        or (auth.admin_enabled and auth.admin_password)
        or any(issuer.admin_roles or issuer.admin_scopes for issuer in auth.jwt_issuers)
    )
    # Elsewhere than on loopback nothing starts without an admin's secret.
    if settings.loopback and settings.enforced and settings.role != "worker" and not has_admin:
        report.warn(
            "nobody can use /api/*: calls need a credential, and no admin has one: set "
            "HERMOD_ADMIN_TOKEN to a secret of your own"
        )


def check_files(settings: Settings, report: Report, auth_config: Section) -> None:
    """Warn of secrets that every user of this machine can read."""
    config = settings.config_file
    if config is not None and report.plain_secrets and is_readable_by_others(config):
        report.warn(
            f"{config} holds secrets, and every user of this machine can read it: chmod o-r "
            f'{config}, or write "env.NAME" instead'
        )
        if (*auth_config.path, "admin_password") in report.plain_secrets:
            auth_config.warn(
                f"the password of the admin, and every user of this machine can read it: chmod o-r "
                f'{config}, or write "env.NAME" instead',
                "admin_password",
            )
    for path in (settings.database_path, settings.app_dir / "encryption.key"):
        if path is not None and is_readable_by_others(path):
            report.warn(f"{path} can be read by every user of this machine: chmod o-r {path}")


def is_readable_by_others(path: Path) -> bool:
    """Whether every user of this machine can read a file: its own mode, and a way to it."""
    try:
        mode = path.stat().st_mode
        folders = [folder.stat().st_mode for folder in path.resolve().parents]
    except OSError:
        return False
    return bool(mode & _OTHERS_READ) and all(each & _OTHERS_ENTER for each in folders)
