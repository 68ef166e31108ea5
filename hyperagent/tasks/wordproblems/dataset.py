"""The generator of word problems as a data set."""

from __future__ import annotations

import hashlib
import json
import os

from hyperagent.errors import UnknownNameError
from hyperagent.tasks.data import TaskSet
from hyperagent.tasks.wordproblems.generate import LEVELS, STEPS, generate
from hyperagent.tasks.wordproblems.pieces import SPLITS

SPLIT_SIZE = 800
"""Problems of a split as `load` gives them: a hundred of each difficulty."""


class _WordProblems:
    """Splits ``train``, ``validation`` and ``test``, and of each the levels: ``test_easy``, …"""

    name = "wordproblems"
    splits = (*SPLITS, *(f"{split}_{level}" for split in SPLITS for level in LEVELS))

    def load(
        self,
        split: str,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        limit: int | None = None,
        download: bool = False,
    ) -> TaskSet:
        """The first `limit` problems of a split; there is nothing to find or download."""
        if split not in self.splits:
            raise UnknownNameError("split of wordproblems", split, self.splits)
        base, _, level = split.partition("_")
        size = SPLIT_SIZE * len(LEVELS.get(level, STEPS)) // len(STEPS)
        every = generate(SPLIT_SIZE if level else min(limit or size, size), split=base)
        tasks = tuple(task for task in every if not level or task.meta["level"] == level)[:limit]
        content = json.dumps([[task.question, task.answer] for task in tasks]).encode()
        return TaskSet(
            self.name,
            split,
            tasks,
            hashlib.sha256(content).hexdigest(),
            ("numeric", "strict", "flexible"),
            source="hyperagent.tasks.wordproblems, seed 0",
            licence="Apache-2.0",
        )


WORDPROBLEMS = _WordProblems()
