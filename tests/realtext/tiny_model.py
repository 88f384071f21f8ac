"""A language model of 500 KB that knows nothing, as a GGUF file.

What it is for is to give every text its own answer, always the same:

- A token of the input is one byte of UTF-8 and the chat template adds nothing, so the upstream's
  `prompt_tokens` must be the number of bytes that the client sent.
- The weights are random, so every byte has a say in the answer. They are loud, or the most likely
  next word would hardly depend on what was said long before.
- It speaks in words of several scripts, so answers leave ASCII too, and its end mark has no weight,
  so it says as many as it may.

The format is described in ggml's `docs/gguf.md`, the tensors are those of llama.cpp's `llama`.
"""

import random
import struct
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

WIDTH: Final = 64
_HEADS: Final = 2
_INNER: Final = 128
_LAYERS: Final = 2
_SEED: Final = 20_260_321
_ALIGNMENT: Final = 32
_BYTES: Final = 256
_END: Final = _BYTES
"""The token after those of the single bytes."""
_WORDS: Final = (
    " the", " of", " and", " return", " None", " self", "\n", ", ", ". ", " (", ")", " = ",
    "0", "1", "7", " a", " b", " c", " x", " weiß", " naïve", " Ω", " ключ", " слово",
    " 日本", " 語", " שלום", " 😀", " €", " “quoted”", " \\", ' "', "\t", "/",
)  # fmt: skip

Value = int | bool | float | str | Sequence[str] | Sequence[int]


class _Tensor(NamedTuple):
    name: str
    shape: tuple[int, ...]
    """Fastest dimension first."""
    data: "array[float]"


def write_tiny_model(path: Path) -> None:
    """Write the model. The same bytes every time."""
    alphabet = _alphabet()
    words = ["".join(alphabet[byte] for byte in word.encode()) for word in _WORDS]
    tokens = [*alphabet, "<|end|>", *(word for word in words if word not in alphabet)]
    _write(path, _metadata(tokens), _tensors(len(tokens), [tokens.index(word) for word in words]))


def _alphabet() -> list[str]:
    """The visible character that stands for each byte in vocabularies of GPT-2's kind."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(_BYTES, 2 * _BYTES))
    return [chr(byte if byte in visible else next(spare)) for byte in range(_BYTES)]


def _metadata(tokens: Sequence[str]) -> dict[str, Value]:
    normal, control = 1, 3
    return {
        "general.architecture": "llama",
        "general.name": "tiny-random",
        "general.alignment": _ALIGNMENT,
        "general.file_type": 0,
        "llama.vocab_size": len(tokens),
        "llama.context_length": 8192,
        "llama.embedding_length": WIDTH,
        "llama.block_count": _LAYERS,
        "llama.feed_forward_length": _INNER,
        "llama.attention.head_count": _HEADS,
        "llama.attention.head_count_kv": _HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // _HEADS,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [control if n == _END else normal for n in range(len(tokens))],
        # Some merge must be there: the one of two bytes that UTF-8 never has.
        "tokenizer.ggml.merges": [f"{tokens[0xFE]} {tokens[0xFF]}"],
        "tokenizer.ggml.bos_token_id": _END,
        "tokenizer.ggml.eos_token_id": _END,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.chat_template": "{% for each in messages %}{{ each['content'] }}{% endfor %}",
    }


def _tensors(vocabulary: int, spoken: Sequence[int]) -> list[_Tensor]:
    dice = random.Random(_SEED)

    def loud(name: str, columns: int, rows: int, loudness: float) -> _Tensor:
        values = (dice.gauss(0, loudness) for _ in range(columns * rows))
        return _Tensor(f"{name}.weight", (columns, rows), array("f", values))

    def ones(name: str) -> _Tensor:
        return _Tensor(f"{name}.weight", (WIDTH,), array("f", [1.0] * WIDTH))

    even = WIDTH**-0.5
    """What keeps the size of a vector as it is."""
    tensors = [loud("token_embd", WIDTH, vocabulary, 1.0), ones("output_norm")]
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        tensors += [
            ones(f"{block}.attn_norm"),
            loud(f"{block}.attn_q", WIDTH, WIDTH, 1.5 * even),
            loud(f"{block}.attn_k", WIDTH, WIDTH, 1.5 * even),
            loud(f"{block}.attn_v", WIDTH, WIDTH, 3 * even),
            loud(f"{block}.attn_output", WIDTH, WIDTH, 2 * even),
            ones(f"{block}.ffn_norm"),
            loud(f"{block}.ffn_gate", WIDTH, _INNER, even),
            loud(f"{block}.ffn_up", WIDTH, _INNER, even),
            loud(f"{block}.ffn_down", _INNER, WIDTH, _INNER**-0.5),
        ]
    # Whatever has no row of its own weighs nothing and is never the likeliest.
    output = array("f", bytes(4 * WIDTH * vocabulary))
    for token in spoken:
        output[token * WIDTH : (token + 1) * WIDTH] = loud("", WIDTH, 1, 1.0).data
    return [*tensors, _Tensor("output.weight", (WIDTH, vocabulary), output)]


def _write(path: Path, metadata: Mapping[str, Value], tensors: Sequence[_Tensor]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata)))
        for key, value in metadata.items():
            file.write(_text(key) + _value(value))
        offset = 0
        for tensor in tensors:
            file.write(_text(tensor.name) + struct.pack("<I", len(tensor.shape)))
            file.write(struct.pack(f"<{len(tensor.shape)}QIQ", *tensor.shape, 0, offset))
            offset += _padded(4 * len(tensor.data))
        file.write(bytes(_padded(file.tell()) - file.tell()))
        for tensor in tensors:
            data = struct.pack(f"<{len(tensor.data)}f", *tensor.data)
            file.write(data.ljust(_padded(len(data)), b"\0"))


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _value(value: Value) -> bytes:
    """A value with the number of its type before it."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case _:
            items = [_text(each) if isinstance(each, str) else struct.pack("<i", each)
                     for each in value]  # fmt: skip
            kind = 8 if isinstance(value[0], str) else 5
            return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)
