"""Fair comparisons of topologies in run folders that survive a kill."""

from hyperagent.bench.plan import BASELINES, BenchConfig, Row
from hyperagent.bench.progress import Progress, make_progress
from hyperagent.bench.report import RowSummary, Summary, footnotes, to_markdown
from hyperagent.bench.run import run_bench
from hyperagent.bench.store import RunFolder, open_folder

__all__ = [
    "BASELINES",
    "BenchConfig",
    "Progress",
    "Row",
    "RowSummary",
    "RunFolder",
    "Summary",
    "footnotes",
    "make_progress",
    "open_folder",
    "run_bench",
    "to_markdown",
]
