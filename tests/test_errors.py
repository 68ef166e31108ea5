"""The exception tree is what its docstring draws."""

from __future__ import annotations

import inspect
import re

from hyperagent import errors

CLASSES = {
    name: thing
    for name, thing in vars(errors).items()
    if inspect.isclass(thing) and issubclass(thing, errors.HyperagentError)
}


def test_the_drawing_shows_every_class_under_its_parent() -> None:
    drawn: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"^( {4}[│├└─ ]*)(\w+)", line):
            drawn.append((len(match[1]), match[2]))
    assert {name for _, name in drawn} == set(CLASSES)
    for i, (depth, name) in enumerate(drawn[1:], 1):
        parent = next(n for d, n in reversed(drawn[:i]) if d < depth)
        assert CLASSES[parent] in CLASSES[name].__mro__, f"{name} is not a {parent}"


def test_retry_rules_stand_with_the_class() -> None:
    retryable = {n for n, c in CLASSES.items() if getattr(c, "retryable", False)}
    assert retryable == {"ConnectFailed", "CallTimeout", "RateLimited", "ServerFailed", "BadReply"}
    fatal = {n for n, c in CLASSES.items() if getattr(c, "fatal", False)}
    assert fatal == {"AuthenticationFailed", "NotFound"}


def test_a_hypergraph_error_is_a_value_error() -> None:
    assert issubclass(errors.HypergraphError, ValueError)
