"""What the doctor tells."""

from enum import StrEnum
from typing import NamedTuple


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, or it cannot be known; a person should look at it."""
    ERROR = "error"
    """It does not work."""


class Group(StrEnum):
    """What a finding is about, in the order in which they are told."""

    MACHINE = "machine"
    DATA = "data"
    CONFIGURATION = "configuration"
    NETWORK = "network"
    PROVIDERS = "providers"


class Finding(NamedTuple):
    """One sentence, and what to do about it."""

    group: Group
    grade: Grade
    subject: str
    """What was looked at, in a word or two."""
    text: str
    remedy: str = ""
    """Empty where nothing is to be done."""


def exit_code(findings: "tuple[Finding, ...] | list[Finding]") -> int:
    """0 when all is well, 1 with warnings, 2 when something does not work (product.md 4.2)."""
    grades = {finding.grade for finding in findings}
    return 2 if Grade.ERROR in grades else int(Grade.WARNING in grades)
