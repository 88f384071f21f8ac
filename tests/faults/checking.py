"""The history checker, by the one name that the fault suite knows it by."""

from hermod.domain.fingerprint import fingerprint
from hermod.store.inspection import Dump
from hermod.store.postgres import inspect as postgres
from hermod.store.sqlite import inspect as sqlite
from hermod.torture.clients import nonce_in
from hermod.torture.history import Blow, Call, History, Read, Reply, Submit, Terms
from hermod.torture.record import read_record
from hermod.torture.rules import check

__all__ = [
    "Blow", "Call", "Dump", "History", "Read", "Reply", "Submit", "Terms", "check", "fingerprint",
    "nonce_in", "postgres", "read_record", "sqlite",
]  # fmt: skip
