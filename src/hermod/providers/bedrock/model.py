"""What Bedrock calls a model, and which family one is of."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from hermod.providers.adapter import Outgoing
from hermod.providers.lenient import text

_FAMILIES: Final = ("claude", "nova", "titan", "cohere", "stability", "gpt-oss", "rerank", "embed")
"""Words by which a name tells what it is a name of."""


def path_of(outgoing: Outgoing, operation: str) -> str | None:
    """The path of a call where the key names an inference profile, else None: the table has it.

    `bedrock_key_config.arn` is the profile without the model's name; every character of both is
    escaped, as AWS's SDKs do it (Amazon Bedrock API reference, "Converse": `modelId`).
    """
    arn = outgoing.key.bedrock.arn if outgoing.key and outgoing.key.bedrock else None
    if not arn or outgoing.model.startswith("arn:"):
        return None
    whole = f"{arn.rstrip('/')}/{outgoing.model}"
    return f"/model/{quote(whole, safe='')}/{operation}"


def name_of(outgoing: Outgoing, members: Mapping[str, Any]) -> str:
    """The name that tells most of what the model is, in lower case.

    The upstream's own name, unless it is that of a profile; then what the caller calls it.
    """
    name = outgoing.model.lower()
    if any(word in name for word in _FAMILIES):
        return name
    asked = text(members.get("model")).partition("/")[2].lower()
    return asked if any(word in asked for word in _FAMILIES) else name
