"""Questions, data sets, answer extraction, scoring and the sandbox."""

from hyperagent.tasks.task import KINDS, Task

__all__ = ["KINDS", "Task"]
