"""What all things of `governance` have: a name, an id, and references to each other."""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from hermod.config.section import Section, did_you_mean
from hermod.domain.provider import ProviderSettings, Secret

_ID: Final = re.compile(r"[!-~]{1,255}")


class About(NamedTuple):
    """What the rest of the settings says."""

    providers: Mapping[str, ProviderSettings]
    known: frozenset[str]
    """Every name that may stand before a model, whether it is configured or not."""
    admin_token: Secret
    empty_lists: str


class Names:
    """Every name, id and value of one file, so that each is one."""

    def __init__(self, about: About) -> None:
        self.about = about
        self._seen: dict[tuple[str, str, str], Section] = {}
        """By type, member and its text: where it was written first."""
        self._ids: dict[str, set[str]] = {"customer": set(), "team": set()}

    def named(self, section: Section, kind: str) -> tuple[str, str] | None:
        """Id and name of a thing that people gave a name."""
        name = (section.text("name") or "").strip()
        if not name:
            section.problem("missing: every one needs a name of its own", "name")
            for member in section.members:
                section.take(member)
            return None
        self.only(section, kind, "name", name)
        key = self.id_of(section, kind, name)
        if kind in self._ids:
            self._ids[kind].add(key)
        return key, name

    def id_of(self, section: Section, kind: str, name: str) -> str:
        """The id that was written; else one that is the same after every start."""
        written = section.text("id")
        if written is None:
            digest = hashlib.sha256(f"{kind}:{name}".encode("utf-8", "surrogatepass"))
            return f"file-{digest.hexdigest()[:24]}"
        if not _ID.fullmatch(written):
            section.problem("an id is made of up to 255 visible characters of ASCII", "id")
        self.only(section, kind, "id", written)
        return written

    def only(self, section: Section, kind: str, key: str, text: str) -> None:
        """Note a second one of the same name, id or value."""
        first = self._seen.setdefault((kind, key, text), section)
        if first is not section:
            section.problem(f"the same {key} as at {first.place()}", key)

    def reference(self, section: Section, kind: str) -> str | None:
        """The team or the customer that something belongs to; they were read before it."""
        key = section.text(f"{kind}_id") or None
        if key is not None and key not in self._ids[kind]:
            section.problem(f"there is no such {kind} in governance.{kind}s", f"{kind}_id")
        return key

    def provider_name(self, section: Section, key: str = "provider") -> str:
        """A provider, in lower case as Bifrost, too, reads it; empty where there is none."""
        name = (section.text(key) or "").lower()
        about = self.about
        if not name:
            section.problem("missing: the name of a provider", key)
        elif name not in about.providers and name != "mock":
            hint = "" if name in about.known else did_you_mean(name, about.known)
            section.warn(f"is not configured, so its jobs will fail{hint}", key)
        return name
