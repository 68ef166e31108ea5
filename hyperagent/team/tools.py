"""Tools of an agent: it writes a fenced block with the tool's name and reads the result.

The protocol is plain text, so every model can use it and a server needs no tool support.
A new tool is one class with ``name``, ``instruction`` and ``run``, and one line in `tools`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Protocol

from hyperagent.registry import Registry
from hyperagent.tasks import sandbox


class Tool(Protocol):
    """Something an agent may use while it speaks."""

    name: str
    """Word after the opening fence."""
    instruction: str
    """What the system prompt says about it."""

    async def run(self, source: str) -> str:
        """Result of the block's text; errors are results too, never exceptions."""
        ...


class Calculator:
    """Exact arithmetic on numbers, nothing else."""

    name = "calculator"
    instruction = (
        "To compute, write one expression in a fenced block and stop; you will get its value:\n"
        "```calculator\n12 * (7 + 5) / 100\n```"
    )

    async def run(self, source: str) -> str:
        """Value of an expression of ``+ - * / // % **`` and brackets."""
        try:
            return str(calculate(source))
        except (ValueError, ZeroDivisionError) as error:
            return f"error: {error}"


class Python:
    """A Python program in the sandbox."""

    name = "python"
    instruction = (
        "To run a program, write it in a fenced block and stop; you will get what it prints:\n"
        "```python\nprint(12 * 7)\n```"
    )

    async def run(self, source: str) -> str:
        """What the program prints, cut at 2,000 characters."""
        result = await sandbox.run_python_async(source, seconds=6)
        if result.ok:
            return result.stdout.strip()[:2000] or "(no output; use print)"
        return f"error: {result.reason or result.stderr.strip()[-500:]}"


tools: Registry[Callable[[], Tool]] = Registry("tool", group="hyperagent.tools")
tools.register("calculator")(Calculator)
tools.register("python")(Python)


def get_tools(names: Iterable[str]) -> tuple[Tool, ...]:
    """One instance for each name; an unknown name names the nearest."""
    return tuple(tools.get(name)() for name in names)


_BLOCK = re.compile(r"```([A-Za-z_]\w*)[ \t]*\n(.*?)```", re.DOTALL)


def find_call(text: str, available: Sequence[Tool]) -> tuple[Tool, str] | None:
    """The last fenced block of `text` that names one of the tools, with its content."""
    by_name = {tool.name: tool for tool in available}
    calls = [(by_name[m[1]], m[2]) for m in _BLOCK.finditer(text) if m[1] in by_name]
    return calls[-1] if calls else None


_OPERATORS: dict[type[ast.AST], Callable[..., Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_LARGEST_POWER = 1000
_LONGEST = 400


def calculate(expression: str) -> int | float:
    """Value of an arithmetic expression, computed exactly and rounded once at the end.

    Raises
    ------
    ValueError
        If it is anything but numbers, ``+ - * / // % **`` and brackets, or too large.
    ZeroDivisionError
    """
    source = expression.strip().replace("^", "**").replace("×", "*").replace("÷", "/")
    source = re.sub(r"(?<=\d),(?=\d{3}\b)|[$€£]", "", source)
    if len(source) > _LONGEST:
        raise ValueError(f"the expression is longer than {_LONGEST} characters")
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"not an arithmetic expression: {expression.strip()[:60]!r}") from None
    value = _value(tree)
    if value.denominator == 1:
        return value.numerator
    try:
        return float(value)
    except OverflowError:
        raise ValueError("the value is too large") from None


def _value(node: ast.AST) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return _power(_value(node.left), _value(node.right))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError("only numbers, + - * / // % ** and brackets are allowed")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if abs(exponent) > _LARGEST_POWER:
        raise ValueError(f"exponents must be within ±{_LARGEST_POWER}")
    if exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if size * abs(exponent) > 100_000:
            raise ValueError("the value is too large")
        return base ** int(exponent)
    if base < 0:
        raise ValueError("a negative number has no real fractional power")
    return Fraction(float(base) ** float(exponent))
