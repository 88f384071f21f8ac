"""This machine: the interpreter, its limits, and the disk that the jobs are kept on."""

import os
import platform
import re
import resource
import shutil
import ssl
import sys
from pathlib import Path
from typing import Final

from hermod.doctor.finding import Finding, Grade, Group

_FEW_FILES: Final = 4096
_LITTLE_SPACE: Final = 1024**3
_GIB: Final = 1024**3
_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK_DISKS: Final = re.compile(
    r"nfs4?|cifs|smb3?|smbfs|9p|afs|ceph|glusterfs|lustre|gfs2?|ocfs2|beegfs|virtiofs"
    r"|fuse\.(?:sshfs|glusterfs|ceph.*|s3fs|rclone|gcsfuse|blobfuse2?)"
)
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


def of_interpreter(version: str) -> Finding:
    """What runs here; `version` is ours."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    text = f"hermod {version}, {python}, {system}"
    if sys.platform not in {"linux", "darwin"}:
        remedy = "run it in a container, or on Linux or macOS"
        return Finding(Group.MACHINE, Grade.WARNING, "system", f"{text}: not tested here", remedy)
    return Finding(Group.MACHINE, Grade.OK, "system", text)


def of_files(calls: int) -> Finding:
    """How many files may be open; `calls` are the calls in flight that one provider may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= max(_FEW_FILES, 2 * calls):
        shown = "without limit" if hard == resource.RLIM_INFINITY else f"up to {hard:,}"
        return Finding(Group.MACHINE, Grade.OK, "open files", shown)
    return Finding(
        Group.MACHINE,
        Grade.WARNING,
        "open files",
        f"at most {hard:,}, half for clients and half for calls: {calls:,} calls in flight "
        "(hermod.worker_slots) and their clients do not fit",
        f"raise the hard limit (ulimit -Hn, LimitNOFILE=, --ulimit nofile) to {2 * calls:,} "
        f"or more, at least {_FEW_FILES:,}",
    )


def of_certificates(needed: bool) -> Finding | None:
    """Whether any authority is trusted; `needed` where an upstream speaks TLS."""
    paths = ssl.get_default_verify_paths()
    known = ssl.create_default_context().cert_store_stats()["x509_ca"]
    folder = Path(paths.capath) if paths.capath else None
    if known or (folder is not None and any(folder.iterdir())) or not needed:
        return None
    return Finding(
        Group.NETWORK,
        Grade.ERROR,
        "certificates",
        "no certificate authority is known here, so no https address can be trusted",
        f"install the system's certificates (package ca-certificates), or set "
        f"{paths.openssl_cafile_env} to a file of them",
    )


def of_app_dir(app_dir: Path) -> list[Finding]:
    """Whether data can be written there, and how much of it."""
    place = app_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        text = f"{app_dir}: {place} is a file"
        return [_data(Grade.ERROR, "app dir", text, "choose another directory with --app-dir")]
    if not os.access(place, os.W_OK | os.X_OK):
        what = "is not writable" if place == app_dir else f"cannot be made: {place} is not writable"
        remedy = f"chown it to the user that runs hermod (id {os.geteuid()}), or choose another "
        return [_data(Grade.ERROR, "app dir", f"{app_dir} {what}", f"{remedy}with --app-dir")]
    state = "writable" if place == app_dir else "does not exist yet and can be made"
    found = [_data(Grade.OK, "app dir", f"{app_dir} {state}")]
    free = shutil.disk_usage(place).free
    if free < _LITTLE_SPACE:
        text = f"only {free / _GIB:.2f} GiB are free below {place}"
        remedy = "make room: with a full disk no job is accepted"
        found.append(_data(Grade.WARNING, "disk space", text, remedy))
    else:
        found.append(_data(Grade.OK, "disk space", f"{free / _GIB:,.0f} GiB free"))
    return found


def of_network_disk(database: Path) -> Finding | None:
    """A warning when the embedded database lies on a disk of another machine."""
    kind = file_system(database.resolve())
    if not _NETWORK_DISKS.fullmatch(kind):
        return None
    return _data(
        Grade.WARNING,
        "disk",
        f"{database} is on a network disk ({kind}): SQLite's log needs shared memory and locks "
        "that such disks do not keep, and may lose jobs",
        "use a local disk (--app-dir), or a PostgreSQL (--database)",
    )


def file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """What kind of file system a path is on; empty where the system does not say it (proc(5))."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    found = "", ""
    for line in lines:
        about, _, rest = line.partition(" - ")
        words = about.split()
        point = _ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), words[4]) if words[4:] else ""
        # Of several on one point, the last covers the others.
        if point and path.is_relative_to(point) and len(point) >= len(found[0]):
            found = point, rest.split(" ", 1)[0]
    return found[1]


def _data(grade: Grade, subject: str, text: str, remedy: str = "") -> Finding:
    return Finding(Group.DATA, grade, subject, text, remedy)
