"""Programs as answers: read them out of replies, complete them, find their tests.

The metadata of a code task are ``entry_point`` (name of the function asked for), ``prompt``
(signature and docstring that a bare body continues, may be empty), ``setup`` (code run before
the tests), ``tests`` (hidden test code) and ``public`` (assert statements shown in the
question).
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap

from hyperagent.tasks.task import Task

PREAMBLE = "import math\nfrom typing import *\n"
"""Imports that runners of HumanEval commonly provide, because replies take them for granted."""
_FUTURE = re.compile(r"^from __future__ import .*$", re.MULTILINE)
_FENCE = re.compile(
    r"^[ \t]*(?:```|~~~)[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)",
    re.DOTALL | re.MULTILINE,
)
_PYTHON_LABELS = {"", "python", "python3", "py", "py3"}
_CODE_LINE = re.compile(
    r"^(?:def |async def |import \w|from [\w.]+ import |class \w|@\w|[A-Z_]+ = )", re.M
)
_EXAMPLE = re.compile(
    r"^[ \t]*>>>(?P<call>.+)\n[ \t]*(?P<value>[^\s>\"'].*|'.*'|\"[^\"].*)$", re.MULTILINE
)
_SHOWN = re.compile(
    r"^\s*(?P<call>{name}\(.*\))\s*(?:==|=>|->|➞|➔|=|returns?:?|should return)\s*(?P<value>.+?)\s*$"
)


def extract_program(text: str, task: Task) -> str | None:
    """Program in a reply: the last fenced block that defines the function asked for.

    Without such a block the last Python block counts; without any fence the reply itself if
    it is code (also a bare function body), else the code in it from the first line that looks
    like code. None if the reply holds no code.
    """
    entry = str(task.meta.get("entry_point", ""))
    blocks = [
        textwrap.dedent(code).rstrip()
        for label, code in _FENCE.findall(text)
        if label.lower() in _PYTHON_LABELS and code.strip()
    ]
    if blocks:
        defining = [code for code in blocks if entry and defines(code, entry)]
        return (defining or blocks)[-1]
    if not text.strip():
        return None
    body = text.strip("\n").rstrip()
    if _parse(body) is not None or (body[:1].isspace() and _parse_body(body) is not None):
        return body if _is_code(body) else None
    start = _CODE_LINE.search(body)
    if start is None:
        return None
    lines = body[start.start() :].splitlines()
    # Prose often follows the program: keep the longest beginning that is valid Python.
    for end in range(len(lines), max(0, len(lines) - 200), -1):
        if _parse("\n".join(lines[:end])) is not None:
            return "\n".join(lines[:end]).rstrip()
    return "\n".join(lines)


def normalise_program(program: str | None) -> str | None:
    """Program without comments and layout.

    As written, stripped, if it is not valid Python or too deeply nested to be written anew.
    """
    if program is None or not program.strip():
        return None
    tree = _parse(program) or _parse_body(program)
    try:
        return ast.unparse(tree).strip() if tree is not None else program.strip()
    except RecursionError:
        return program.strip()


def complete(program: str, task: Task) -> str:
    """Program that can run: with the imports and helpers of the prompt, or as its body.

    A program that defines the entry point itself comes behind what the prompt states before
    the function; anything else continues the prompt. `PREAMBLE` comes first.
    """
    entry, prompt = str(task.meta.get("entry_point", "")), str(task.meta.get("prompt", ""))
    if not prompt or defines(program, entry):
        head = re.search(rf"^(?:async\s+)?def\s+{re.escape(entry)}\b", prompt, re.MULTILINE)
        whole = f"{prompt[: head.start()] if head else ''}\n{program}\n"
    else:
        body = program if program[:1].isspace() else textwrap.indent(program, "    ")
        whole = f"{prompt.rstrip()}\n{body}\n"
    future = "".join(line + "\n" for line in _FUTURE.findall(whole))
    return f"{future}{PREAMBLE}{_FUTURE.sub('', whole)}"


def hidden_tests(task: Task) -> str:
    """Code that raises unless the program is right."""
    return f"{task.meta.get('setup', '')}\n{task.meta['tests']}\n"


def reference(task: Task) -> str:
    """The data set's own solution as a program that can run."""
    return complete(task.answer or "", task)


def defines(program: str, name: str) -> bool:
    """Whether `program` has a function, class or variable of that name at its top level."""
    word = re.escape(name)
    pattern = rf"^(?:(?:async\s+)?def|class)\s+{word}\b|^{word}\s*=[^=]"
    return re.search(pattern, program, re.MULTILINE) is not None


def entry_point_of(test: str) -> str:
    """Name of the function that an assert statement calls on its left side; "" if none."""
    tree = _parse(test.strip())
    if tree is None:
        return ""
    calls = [
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    return next((name for name in calls if name not in dir(builtins)), "".join(calls[:1]))


def public_tests(task: Task) -> tuple[str, ...]:
    """Assert statements for the examples that the question itself shows.

    They may be run before answering, because an agent can read them in the question: doctest
    examples, lines such as ``f(2) == 4`` or ``f(2) ➞ 4``, and the tests in ``public``.
    """
    given = tuple(task.meta.get("public", ()))
    entry, prompt = str(task.meta.get("entry_point", "")), str(task.meta.get("prompt", ""))
    if given or not prompt:
        return given
    start = prompt.find(f"def {entry}")
    docstring = prompt[start:] if start >= 0 else prompt
    # Without its quotes, or the closing ones would belong to the last example's value.
    quoted = re.split(r'"""|\'\'\'', docstring, maxsplit=2)
    docstring = quoted[1] if len(quoted) == 3 else docstring
    found: dict[str, None] = {}
    for match in _EXAMPLE.finditer(docstring):
        _add(found, match["call"].strip(), match["value"].strip())
    shown = re.compile(_SHOWN.pattern.replace("{name}", re.escape(entry)))
    for line in docstring.splitlines():
        if match := shown.match(line.replace(">>>", "")):
            _add(found, match["call"], match["value"].split(" #")[0].rstrip(" .;,"))
    return tuple(found)


def _add(found: dict[str, None], call: str, value: str) -> None:
    """Keep an example ``call == value`` with a literal right and only known names left."""
    try:
        left, right = ast.parse(call, mode="eval"), ast.parse(value, mode="eval")
        ast.literal_eval(right)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return
    called = {
        n.func.id
        for n in ast.walk(left)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    if all(
        n.id in called or n.id in dir(builtins) for n in ast.walk(left) if isinstance(n, ast.Name)
    ):
        found[f"assert {ast.unparse(left)} == {ast.unparse(right)}"] = None


def _parse(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _parse_body(code: str) -> ast.Module | None:
    return _parse("def f():\n" + (code if code[:1].isspace() else textwrap.indent(code, "    ")))


def _is_code(body: str) -> bool:
    """Whether valid Python is more than a word or a number of prose (``18`` parses too)."""
    tree = _parse(body) or _parse_body(body)
    return tree is not None and any(
        isinstance(node, ast.FunctionDef | ast.Return | ast.Import | ast.Assign | ast.Call)
        and getattr(node, "name", "") != "f"
        for node in ast.walk(tree)
    )
