"""What the doctor concludes from what it sees."""

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermod.doctor import machine
from hermod.doctor.explain import Asked, no_reply
from hermod.doctor.finding import Finding, Grade, Group, exit_code
from hermod.doctor.keys import of_clock
from hermod.net.messages import NetError, Reason
from tests.providers.recorded import settings_of

MOUNTS = r"""
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
35 21 0:40 / /mnt/data rw - nfs4 server:/export rw,vers=4.2
36 35 8:2 / /mnt/data/fast rw shared:7 master:2 - xfs /dev/sdb rw
37 21 0:41 / /mnt/with\040blank rw - cifs //server/share rw
38 21 0:42 / /mnt/twice rw - ext4 /dev/sdc rw
39 21 0:43 / /mnt/twice rw - fuse.sshfs me@there:/ rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/hermod", "ext4"),
        ("/mnt/data/hermod.db", "nfs4"),
        ("/mnt/data/fast/hermod.db", "xfs"),
        ("/mnt/database", "ext4"),
        ("/mnt/with blank/x", "cifs"),
        ("/mnt/twice/x", "fuse.sshfs"),
    ],
)
def test_a_path_is_on_the_innermost_mount(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert machine.file_system(Path(path), mounts) == kind


def test_a_system_that_does_not_tell_its_mounts(tmp_path: Path) -> None:
    assert machine.file_system(tmp_path, tmp_path / "missing") == ""


@pytest.mark.parametrize(
    ("ahead", "grade"),
    [
        ([0.4], Grade.OK),
        ([-29.0, 0.2, 900.0], Grade.OK),
        ([45.0, 44.0], Grade.WARNING),
        ([-3600.0], Grade.ERROR),
    ],
)
def test_one_odd_date_among_many_is_not_our_clock(ahead: list[float], grade: Grade) -> None:
    found = of_clock(ahead)
    assert found is not None
    assert found.grade is grade


def test_replies_without_a_date_say_nothing_of_the_clock() -> None:
    assert of_clock([]) is None


@pytest.mark.parametrize(
    ("grades", "code"),
    [([], 0), ([Grade.OK], 0), ([Grade.OK, Grade.WARNING], 1), ([Grade.WARNING, Grade.ERROR], 2)],
)
def test_the_exit_code_is_that_of_the_worst(grades: list[Grade], code: int) -> None:
    assert exit_code([Finding(Group.DATA, grade, "x", "y") for grade in grades]) == code


def told(error: NetError, cause: Exception, environ: Mapping[str, str] | None = None) -> str:
    """What is said of an openai with this trouble."""
    provider = settings_of("openai")
    error.__cause__ = cause
    url = "https://api.openai.com/v1/models"
    found = no_reply(Asked(provider, provider.keys[0], url, environ or {}), error, 10)
    assert found.grade is Grade.ERROR
    return f"{found.text} / {found.remedy}"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (9, "is not valid yet / set this machine's clock"),
        (10, "has expired / have it renewed"),
        (18, "an authority that is not known here"),
        (20, "ca_cert_pem"),
        (62, "a certificate for another name"),
        (23, "is not accepted"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_explained(code: int, says: str) -> None:
    cause = ssl.SSLCertVerificationError(1, "[SSL] certificate verify failed")
    cause.verify_code, cause.verify_message = code, "as it says"
    assert says in told(NetError(Reason.TLS, "no trust", sent=False), cause)


def test_a_connection_that_times_out_may_be_a_firewall() -> None:
    error = NetError(Reason.TIMEOUT_CONNECT, "no connection", sent=False)
    said = told(error, TimeoutError(), {"https_proxy": "http://user:secret@proxy.example"})
    assert "no connection to api.openai.com within 10 s / a firewall" in said
    assert "https_proxy is set" in said
    assert "secret" not in said


def test_a_usual_address_is_not_told_to_be_wrong() -> None:
    cause = socket.gaierror(-2, "Name or service not known")
    said = told(NetError(Reason.CONNECT, "no connection", sent=False), cause)
    assert said.endswith("cannot be resolved / check this machine's DNS and its way out")


def test_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1024))
    found = machine.of_files(1000)
    assert found.grade is Grade.WARNING
    assert "LimitNOFILE=" in found.remedy
