"""CLIP's byte-pair tokens, by the tokenizer that comes with open_clip: no download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vireid.core.errors import UserError
from vireid.models.text.extra import text_library

VOCABULARY = 49408  # the last two are the start and the end of a text
END = VOCABULARY - 1


def tokenize(captions: Sequence[str], context: int) -> Tensor:
    """Tokens N×L of ``captions``: start, words, end, then 0; L is what the longest needs, ``context`` at most.

    A caption that is too long loses what lies before its end token. Attention is causal, so that what follows the
    end token decides nothing, and leaving out columns of zeros changes no feature.

    Raises:
        UserError: an empty caption, or open_clip is not installed.
    """
    for position, caption in enumerate(captions):
        if not caption.strip():
            raise UserError(f"caption {position} of {len(captions)} is empty: describe the image or leave text out")
    rows = [_encode(caption, context) for caption in captions]
    tokens = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    for row, found in zip(tokens, rows, strict=True):
        row[: len(found)] = torch.tensor(found)
    return tokens


@lru_cache(maxsize=1 << 17)
def _encode(caption: str, context: int) -> tuple[int, ...]:
    words = _tokenizer().encode(caption)[: context - 2]
    return (END - 1, *words, END)


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    return text_library("open_clip.tokenizer").SimpleTokenizer()
