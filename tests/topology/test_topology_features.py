"""The hashed text features."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.topology.features import DIM, encode_texts

TEXTS = ["a solver of word problems", "Éva prüft 3 Lösungen", "", "x"]


def test_shape_type_and_length() -> None:
    rows = encode_texts(TEXTS)
    assert rows.shape == (4, DIM)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 0, 1], abs=1e-6)
    assert encode_texts([]).shape == (0, DIM)
    assert encode_texts(TEXTS, dim=16).shape == (4, 16)


@given(st.lists(st.text(), max_size=4))
def test_rows_are_finite_and_independent_of_their_neighbours(texts: list[str]) -> None:
    rows = encode_texts(texts)
    assert np.isfinite(rows).all()
    for text, row in zip(texts, rows, strict=True):
        assert np.array_equal(encode_texts([text])[0], row)


def test_every_process_agrees() -> None:
    code = (
        "import hashlib; from hyperagent.topology.features import encode_texts; "
        f"print(hashlib.sha256(encode_texts({TEXTS!r}).tobytes()).hexdigest())"
    )
    want = hashlib.sha256(encode_texts(TEXTS).tobytes()).hexdigest()
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
        )
        assert done.stdout.strip() == want


def test_alike_texts_are_closer() -> None:
    a, b, c = encode_texts(
        [
            "Tom buys 3 apples and sells two apples",
            "Tom bought 4 apples and sold one apple",
            "Which court decided the constitutional appeal?",
        ]
    )
    assert a @ b > 0.4 > 0.2 > abs(a @ c)


def test_case_and_width_do_not_matter() -> None:
    one, two = encode_texts(["Solver ABC", "solver abc"])
    assert np.array_equal(one, two)
