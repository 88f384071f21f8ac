"""All request types. A new one is a file, its line here and its recorded example."""

from typing import Final

from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.kinds.embedding import EMBEDDING
from hermod.kinds.image_edit import IMAGE_EDIT
from hermod.kinds.image_generation import IMAGE_GENERATION
from hermod.kinds.image_variation import IMAGE_VARIATION
from hermod.kinds.kind import AnyKind
from hermod.kinds.ocr import OCR
from hermod.kinds.rerank import RERANK
from hermod.kinds.responses import RESPONSES
from hermod.kinds.speech import SPEECH
from hermod.kinds.text_completion import TEXT_COMPLETION
from hermod.kinds.transcription import TRANSCRIPTION

KINDS: Final[tuple[AnyKind, ...]] = (
    CHAT_COMPLETION,
    TEXT_COMPLETION,
    RESPONSES,
    EMBEDDING,
    SPEECH,
    TRANSCRIPTION,
    IMAGE_GENERATION,
    IMAGE_EDIT,
    IMAGE_VARIATION,
    RERANK,
    OCR,
)

KIND_BY_PATH: Final = {kind.path: kind for kind in KINDS}
KIND_BY_TYPE: Final = {kind.request_type: kind for kind in KINDS}
