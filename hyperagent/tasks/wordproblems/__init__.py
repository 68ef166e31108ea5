"""Word problems with 1 to 8 calculations, made on the spot; see `generate`."""

from hyperagent.tasks.wordproblems.generate import LEVELS, STEPS, generate, stream
from hyperagent.tasks.wordproblems.pieces import SKILLS, SPLITS

__all__ = ["LEVELS", "SKILLS", "SPLITS", "STEPS", "generate", "stream"]
