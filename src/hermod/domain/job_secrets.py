"""What of a request nobody may read in the store."""

import json
from typing import Any, NamedTuple, cast

from hermod.domain.provider import NO_SECRET, Secret


class JobSecrets(NamedTuple):
    """Kept sealed in the options of a job (`Options.sealed`)."""

    forward: tuple[tuple[str, str], ...] = ()
    """Headers for the upstream (`Options.forward`)."""
    direct_key: Secret = NO_SECRET
    """The caller's own provider key."""
    provider: str = ""
    """The only provider that is shown it. It stands here, where nobody can change it: whoever can
    write to the database must not be able to send a key elsewhere."""

    def key_for(self, provider: str) -> Secret:
        """The caller's key for this provider; empty where there is none."""
        return self.direct_key if provider == self.provider else NO_SECRET

    def encode(self) -> bytes:
        """As JSON, to be sealed."""
        members: dict[str, object] = {}
        if self.forward:
            members["forward"] = self.forward
        if self.direct_key:
            members |= {"direct_key": self.direct_key.reveal(), "provider": self.provider}
        return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()

    @staticmethod
    def decode(plain: bytes) -> "JobSecrets":
        """What `encode` wrote, in this release or another one. Raises ValueError."""
        members = cast("dict[str, Any]", json.loads(plain))
        return JobSecrets(
            tuple((str(name), str(value)) for name, value in members.get("forward", ())),
            Secret(str(members.get("direct_key", ""))),
            str(members.get("provider", "")),
        )
