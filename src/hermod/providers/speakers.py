"""Which models are asked in their vendor's own words."""

from collections.abc import Callable, Mapping
from typing import Final

from hermod.domain.provider import ProviderSettings
from hermod.kinds.own_words import TRAVELS_AS
from hermod.providers.adapter import Outgoing, OwnWords
from hermod.providers.adapters import way_of
from hermod.providers.prepare import upstream_model

_NOTHING: Final = Outgoing(body=b"", content_type=None, model="", forward_unknown=True, boundary="")


def speakers(providers: Mapping[str, ProviderSettings]) -> Callable[[str, str], bool]:
    """Whether a model (`provider/model`) is asked in the words of an API (kinds/own_words.py).

    What the model is called at the upstream may decide, and each key may have another name for it:
    then all must agree.
    """
    found: dict[tuple[str, str], OwnWords] = {}
    for name, provider in providers.items():
        for api, request_type in TRAVELS_AS.items():
            # Both switches are for other request types.
            way = way_of(provider, request_type, text_to_chat=False, chat_to_responses=False)
            for own in () if way is None else way.dialect.own:
                if own.api == api:
                    found[name, api] = own

    def speaks(model: str, api: str) -> bool:
        name, _, called = model.partition("/")
        own = found.get((name, api))
        if own is None:
            return False
        provider = providers[name]
        keys = [key for key in provider.keys if key.usable and key.allows(called)]
        return all(
            own.speaks(
                _NOTHING._replace(model=upstream_model(key, called), provider=provider, key=key)
            )
            for key in keys or (None,)
        )

    return speaks
