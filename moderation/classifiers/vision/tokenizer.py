"""The tokenizer of an image-text model: text to a row of numbers of fixed length.

The package ``tokenizers`` reads tokenizer.json. CLIP's tokenizer can also be given as its
vocabulary and merges; its rules are those of open_clip/tokenizer.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moderation.classifiers.vision import layout
from moderation.classifiers.vision.layout import VisionModelError

_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS: Final = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class Tokenizer:
    """A loaded tokenizer, for texts of at most ``length`` tokens."""

    def __init__(self, files: Mapping[str, Path], *, length: int, dtype: str) -> None:
        """Load the tokenizer. Raises VisionModelError."""
        self._dtype = np.dtype(dtype)
        self._loaded = _load(files)
        self._loaded.no_padding()
        self._loaded.enable_truncation(max_length=length)
        pad = _find_padding(files, self._loaded)
        self._loaded.enable_padding(length=length, pad_id=pad)

    def encode(self, text: str) -> NDArray[Any]:
        """Return [1, length]: the tokens of a text, cut or padded."""
        return np.array([self._loaded.encode(text).ids], self._dtype)

    def count_tokens(self, text: str) -> list[int]:
        """Return the tokens of a text without padding."""
        encoded = self._loaded.encode(text)
        return [
            token
            for token, is_text in zip(encoded.ids, encoded.attention_mask, strict=True)
            if is_text
        ]


def _load(files: Mapping[str, Path]) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise VisionModelError(
            "The package tokenizers is not installed. Install it: pip install 'tokenizers>=0.21'"
        ) from None
    try:
        if layout.TOKENIZER in files:
            return tokenizers.Tokenizer.from_file(str(files[layout.TOKENIZER]))
        return _build_clip(tokenizers, files)
    # Parsers in Rust raise plain Exception.
    except Exception as error:
        raise VisionModelError(f"The tokenizer cannot be read: {error}") from None


def _build_clip(tokenizers: Any, files: Mapping[str, Path]) -> Any:
    model = tokenizers.models.BPE.from_file(
        str(files[layout.VOCABULARY]),
        str(files[layout.MERGES]),
        unk_token=_END,
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
    )
    loaded = tokenizers.Tokenizer(model)
    normal, split = tokenizers.normalizers, tokenizers.pre_tokenizers
    loaded.normalizer = normal.Sequence(
        [normal.NFC(), normal.Replace(tokenizers.Regex(r"\s+"), " "), normal.Lowercase()]
    )
    loaded.pre_tokenizer = split.Sequence(
        [
            split.Split(tokenizers.Regex(_WORDS), behavior="removed", invert=True),
            split.ByteLevel(add_prefix_space=False),
        ]
    )
    ids = [(token, loaded.token_to_id(token)) for token in (_START, _END)]
    if None in dict(ids).values():
        raise VisionModelError(f"vocab.json has no {_START} or no {_END}.")
    loaded.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{_START} $A {_END}", special_tokens=ids
    )
    return loaded


def _find_padding(files: Mapping[str, Path], loaded: Any) -> int:
    """Return the token that fills the row.

    CLIP's text tower reads nothing behind the end of the text, SigLIP's does.
    """
    if layout.TOKENIZER_CONFIG not in files:
        return 0
    token = layout.read_json(files[layout.TOKENIZER_CONFIG]).get("pad_token")
    if isinstance(token, dict):  # an AddedToken
        token = token.get("content")
    found = loaded.token_to_id(token) if isinstance(token, str) else None
    return 0 if found is None else int(found)
