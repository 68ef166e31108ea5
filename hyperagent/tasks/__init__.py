"""Questions, data sets, answer extraction, scoring and the sandbox."""

from hyperagent.tasks.answers import equal, extract, normalise
from hyperagent.tasks.data import DataSet, TaskSet, data_sets, load
from hyperagent.tasks.programs import public_tests
from hyperagent.tasks.scorers import Score, score, scorers
from hyperagent.tasks.split import part_of, split_by_hash
from hyperagent.tasks.task import KINDS, Task

__all__ = [
    "KINDS",
    "DataSet",
    "Score",
    "Task",
    "TaskSet",
    "data_sets",
    "equal",
    "extract",
    "load",
    "normalise",
    "part_of",
    "public_tests",
    "score",
    "scorers",
    "split_by_hash",
]
