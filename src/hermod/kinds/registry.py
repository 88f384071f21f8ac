"""All request types. A new one is a file, its line here and its recorded example."""

from typing import Final

from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.kinds.embedding import EMBEDDING
from hermod.kinds.kind import Kind
from hermod.kinds.responses import RESPONSES
from hermod.kinds.text_completion import TEXT_COMPLETION

KINDS: Final[tuple[Kind, ...]] = (
    CHAT_COMPLETION,
    TEXT_COMPLETION,
    RESPONSES,
    EMBEDDING,
)

KIND_BY_PATH: Final = {kind.path: kind for kind in KINDS}
KIND_BY_TYPE: Final = {kind.request_type: kind for kind in KINDS}
