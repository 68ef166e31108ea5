"""Choosing between programs by running them on the examples that the question shows."""

from __future__ import annotations

from collections.abc import Sequence

from hyperagent.errors import SandboxError
from hyperagent.tasks import Task, programs, public_tests, sandbox


async def first_passing(task: Task, candidates: Sequence[str]) -> str | None:
    """The first program that passes the public examples of `task`.

    Parameters
    ----------
    task : Task
        Of kind ``"code"``. Its hidden tests are not touched.
    candidates : sequence of str
        Programs, the one with the largest vote first.

    Returns
    -------
    str or None
        Without examples, without a sandbox or when none passes: the first one. None without
        candidates.
    """
    tests = "\n".join(public_tests(task))
    if not tests or len(candidates) < 2:
        return next(iter(candidates), None)
    for program in candidates:
        try:
            done = await sandbox.run_python_async(programs.complete(program, task), tests=tests)
        except SandboxError:
            break
        if done.ok:
            return program
    return candidates[0]
