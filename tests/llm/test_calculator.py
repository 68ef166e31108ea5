"""The calculator: exact, and nothing but a calculator."""

from __future__ import annotations

import re
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.llm import calculator
from hyperagent.llm.calculator import evaluate, opened


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12-5", "7"),
        ("7+4", "11"),
        ("5-12", "-7"),
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("8/2/2", "2"),
        ("10-3-2", "5"),
        ("0.1+0.2", "0.3"),
        (".5*4", "2"),
        ("1/8", "0.125"),
        ("1/3", "0.3333"),
        ("2/3", "0.6667"),
        ("-2/3", "-0.6667"),
        ("1/100000", "0"),
        ("-1/100000", "0"),
        ("-(3+4)", "-7"),
        ("3*-2", "-6"),
        ("3--2", "5"),
        (" 1 + 2 ", "3"),
        ("007", "7"),
        ("2.50*2", "5"),
        ("12.5/100*80", "10"),
        ("99999999999*99999999999", "9999999999800000000001"),
    ],
)
def test_values(expression: str, value: str) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "1/0",
        "1/(2-2)",
        "1+",
        "*2",
        "(1+2",
        "1+2)",
        "()",
        "1 2",
        "1..2",
        "1.",
        "2**3",
        "2//3",
        "2^3",
        "1e5",
        "1_000",
        "1,000",
        "x+1",
        "__import__('os')",
        "12-5=",
        "٣+١",  # other scripts' digits
        "²",
        "1\n+2",
        "9" * 40,
        "1+" * 60 + "1",
        "(" * 40 + "1" + ")" * 40,
        "-" * 40 + "1",
        "*".join(["9999999"] * 12),
        "/".join(["1", *["9999999"] * 11]),
    ],
)
def test_what_has_no_value(expression: str) -> None:
    assert evaluate(expression) is None


NUMBERS = st.integers(0, 9999).map(str) | st.decimals(
    0, 999, places=2, allow_nan=False, allow_infinity=False
).map(str)
EXPRESSIONS = st.recursive(
    NUMBERS,
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(
        lambda parts: f"({''.join(parts)})"
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_agrees_with_fractions(expression: str) -> None:
    """Python itself does the sum, on fractions in place of the numbers."""
    program = re.sub(r"[\d.]+", lambda number: f"Fraction('{number.group()}')", expression)
    try:
        exact = eval(program, {"Fraction": Fraction})
    except ZeroDivisionError:
        exact = None
    found = evaluate(expression)
    if found is None:
        assert exact is None or len(expression) > calculator.LONGEST
        return
    assert abs(Fraction(found) - exact) <= Fraction(1, 2 * 10**calculator.PLACES)
    assert ("." in found) == (Fraction(found).denominator != 1)
    assert not (found.endswith("0") and "." in found)
    assert found != "-0"


@given(st.text(alphabet="0123456789.+-*/() <=e", max_size=120))
def test_any_text_is_answered_at_once(text: str) -> None:
    start = time.process_time()
    found = evaluate(text)
    assert time.process_time() - start < 0.1
    assert found is None or re.fullmatch(r"-?\d+(\.\d{1,4})?", found)


@pytest.mark.parametrize(
    ("text", "since", "expression"),
    [
        ("left: <<12-5=", 12, "12-5"),
        ("left: <<12-5=", 13, None),
        ("<<12-5=7>>7", 10, None),
        ("<<12-5=7>>7 <<(3+4)*2=", 0, "(3+4)*2"),
        ("12-5=", 0, None),
        ("<<x=", 0, None),
        ("<<٣+4=", 0, None),
    ],
)
def test_where_a_value_is_waited_for(text: str, since: int, expression: str | None) -> None:
    assert opened(text, since) == expression
