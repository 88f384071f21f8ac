"""The members of a request on their way into another dialect: none is lost without a word."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import msgspec

from hermod.kinds import own_words
from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import CannotCarry, Outgoing

WITHOUT_EFFECT: Final = frozenset(
    {
        "fallbacks",
        own_words.MEMBER,
        "metadata",
        "model",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "user",
        "verbosity",
    }
)
"""What says nothing about the answer to give: left out where an upstream has no place for it."""
_USUAL: Final[Mapping[str, object]] = {
    "frequency_penalty": 0,
    "function_call": "none",
    "functions": [],
    "modalities": ["text"],
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "top_logprobs": 0,
    "truncation": "disabled",
}
"""What every chat asks for that says nothing else."""
_OPENAIS: Final = frozenset({"function_call", "functions", "n"})
"""Of OpenAI's chat too, but in no table of fields (wire-contract 1.6): like all fields that are not
documented they are gone unless those shall go along. Then they are never lost without a word."""
_SAYS_MUCH: Final[Mapping[str, object]] = {"parallel_tool_calls": False, "web_search_options": {}}
"""What looks empty, and is not."""
_ADVICE: Final = "leave it out, or set client.compat.should_drop_params to have such fields dropped"


class Cargo:
    """A decoded JSON body, and which of its members have been carried over."""

    def __init__(self, kind: AnyKind, outgoing: Outgoing) -> None:
        try:
            decoded = msgspec.json.decode(outgoing.body)
        except msgspec.DecodeError as error:  # a number that no float holds
            raise CannotCarry(f"invalid request format: {error}") from None
        self.members: dict[str, Any] = cast("dict[str, Any]", decoded)
        self._known = kind.known_fields
        if kind.request_type == "chat_completion":
            self._known |= _OPENAIS
            for name in () if outgoing.forward_unknown else _OPENAIS:
                self.members.pop(name, None)
        self._outgoing = outgoing
        self._lost: list[str] = []
        self._left = {name for name, value in self.members.items() if value is not None}
        self._left -= WITHOUT_EFFECT

    def take(self, name: str) -> Any:
        """The member, None when it is absent or null; it counts as carried."""
        self._left.discard(name)
        return self.members.get(name)

    def pass_over(self, names: Iterable[str]) -> None:
        """Count members as carried that mean nothing to the answer."""
        self._left.difference_update(names)

    def lose(self, name: str, why: str) -> None:
        """Leave a member out, if the operator allows that. Raises CannotCarry."""
        if not self._outgoing.drop_unsupported:
            raise CannotCarry(f"{name}: {why}; {_ADVICE}", param=name)
        self._lost.append(name)

    def unknown(self) -> dict[str, Any]:
        """Undocumented members that shall go along as they are (`extra_params`), if any shall."""
        if not self._outgoing.forward_unknown:
            return {}
        return {name: self.members[name] for name in self._left if name not in self._known}

    def finish(self, usual: Mapping[str, object] | None = None) -> tuple[str, ...]:
        """The documented members that were left out, if that is allowed.

        A member that asks for nothing, or for its default (in `usual`, or every chat's), is no
        loss.

        Raises:
            CannotCarry: there are some, and the operator did not say to drop them.
        """
        defaults = {**_USUAL, **(usual or {})}
        lost = sorted(
            name
            for name in self._left & self._known
            if not _says_nothing(name, self.members[name])
            and (name not in defaults or self.members[name] != defaults[name])
        )
        if lost and not self._outgoing.drop_unsupported:
            provider = self._outgoing.provider
            whom = f"{provider.name} provider" if provider is not None else "this provider"
            raise CannotCarry(
                f"{', '.join(lost)}: not supported by {whom}; {_ADVICE}", param=lost[0]
            )
        return (*lost, *self._lost)


def _says_nothing(name: str, value: object) -> bool:
    """Whether a value asks for nothing. A zero may ask for something."""
    if name in _SAYS_MUCH and value == _SAYS_MUCH[name]:
        return False
    return value is False or value in ("", [], {})
