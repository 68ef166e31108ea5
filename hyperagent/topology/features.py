"""Text to vectors without a model: hashed words and character n-grams.

The feature-hashing trick with signs (Weinberger et al., ICML 2009): every word and every
run of three to five characters inside a word is hashed to a column and a sign. It needs no
vocabulary and no download, and texts that share words or stems are close.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

DIM = 384
"""Default width, that of the sentence encoder in the published descriptions."""

_WORD = re.compile(r"\w+")


def encode_texts(texts: Iterable[str], dim: int = DIM) -> np.ndarray:
    """One row a text.

    Parameters
    ----------
    texts : iterable of str
    dim : int
        Number of columns.

    Returns
    -------
    ndarray, shape (n_texts, dim), float32
        Rows of Euclidean length 1; a text without letters or digits gives a row of zeros.
        The same text gives the same row in every process and on every machine.
    """
    texts = list(texts)
    matrix = np.zeros((len(texts), dim), dtype=np.float32)
    for row, text in zip(matrix, texts, strict=True):
        for feature, count in Counter(_features(text)).items():
            number = _hash(feature)
            sign = 1.0 if number & 1 else -1.0
            # The logarithm keeps a word that is repeated all over from drowning the rest.
            row[(number >> 1) % dim] += sign * (1.0 + math.log(count))
        length = np.linalg.norm(row)
        if length > 0:
            row /= length
    return matrix


def _features(text: str) -> Iterator[str]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    for word in words:
        yield f"w {word}"
        padded = f"<{word}>"
        for size in (3, 4, 5):
            for start in range(len(padded) - size + 1):
                yield padded[start : start + size]
    for pair in itertools.pairwise(words):
        yield f"b {pair[0]} {pair[1]}"


# Python's own hash differs from process to process.
@lru_cache(maxsize=65536)
def _hash(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
