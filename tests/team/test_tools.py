"""Calculator, sandboxed Python and the fenced-block protocol."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.errors import SandboxError, UnknownNameError
from hyperagent.team.tools import Calculator, Python, calculate, find_call, get_tools


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12 * (7 + 5) / 100", 1.44),
        ("0.1 + 0.2", 0.3),
        ("7 // 2", 3),
        ("-2 ** 2", -4),
        ("2^10", 1024),
        ("1,200 * 3", 3600),
        ("$5 × 3 ÷ 2", 7.5),
        ("10 % 4", 2),
        ("9 ** 0.5", 3),
    ],
)
def test_values(expression: str, value: float) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "__import__('os').system('true')",
        "a + 1",
        "9 ** 9 ** 9",
        "(1).__class__",
        "[1][0]",
        "'a' * 3",
        "True + 1",
        "1e400",
        "10 ** 1000 / 3",
        "(-8) ** 0.5",
        "(" * 300,
        "1+" * 300 + "1",
    ],
)
def test_everything_else_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        calculate(expression)


@given(st.integers(-999, 999), st.integers(-999, 999), st.integers(1, 99))
def test_exact(a: int, b: int, c: int) -> None:
    assert calculate(f"({a} + {b}) / {c}") == pytest.approx(float(Fraction(a + b, c)), rel=1e-15)


def test_errors_are_results() -> None:
    assert asyncio.run(Calculator().run("1 / 0")).startswith("error:")
    assert asyncio.run(Calculator().run("6 * 7")) == "42"


def test_python_runs_in_the_sandbox() -> None:
    try:
        assert asyncio.run(Python().run("print(6 * 7)")) == "42"
    except SandboxError as error:
        pytest.skip(str(error))
    assert asyncio.run(Python().run("1 / 0")).startswith("error:")
    assert "print" in asyncio.run(Python().run("x = 1"))


def test_the_last_block_of_an_offered_tool_is_the_call() -> None:
    tools = get_tools(["calculator"])
    text = "```python\nprint(1)\n```\n```calculator\n1 + 1\n```\nthen\n```calculator\n2 + 2\n```"
    tool, source = find_call(text, tools)
    assert (tool.name, source.strip()) == ("calculator", "2 + 2")
    assert find_call("```python\nprint(1)\n```", tools) is None


def test_an_unknown_tool_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="calculator"):
        get_tools(["calculater"])
