"""The bench: calibrate, run every row, match the baselines, sum up."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from hyperagent import tasks
from hyperagent.bench import baselines, calibrate, facts, report
from hyperagent.bench.plan import MATCHED, BenchConfig, Row, config_hash
from hyperagent.bench.progress import Progress, Silent
from hyperagent.bench.runner import Runner
from hyperagent.bench.samples import Item
from hyperagent.bench.store import RunFolder, open_folder
from hyperagent.errors import ConfigError
from hyperagent.llm import Allowance, CacheStore, Limiter, Prices, RetryPolicy
from hyperagent.tasks import Task, TaskSet
from hyperagent.team import Team, run_sync
from hyperagent.topology.design import best_first

_TEAMS = {"number": "math", "text": "math", "choice": "knowledge", "code": "code"}
"""Team of the package for each kind of task."""

SAMPLED = 0.7
"""Temperature of self-consistency where the agent is greedy, all of whose samples are one reply."""


def run_bench(
    config: BenchConfig,
    *,
    out: str | os.PathLike[str],
    resume: bool = False,
    progress: Progress | None = None,
    team: Team | None = None,
    backend_options: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    prices: Prices | None = None,
    limiter: Limiter | None = None,
    retry: RetryPolicy | None = None,
) -> report.Summary:
    """Run a bench, or the rest of it, and sum it up.

    Parameters
    ----------
    config : BenchConfig
    out : path
        Run folder; see `hyperagent.bench.store`.
    resume : bool
        Go on with the run in `out`. Without it, `out` must not hold a run.
    progress : Progress, optional
        Silent by default; `make_progress` gives one that fits the terminal.
    team : Team, optional
        In place of the one that `config` describes. It is not closed.
    backend_options : mapping, optional
        For backends made from spec strings: ``base_url``, ``api_key``, ``timeout``. They are
        written nowhere.
    data_dir : path, optional
    download : bool
        As in `hyperagent.tasks.load`.
    prices, limiter, retry : optional
        As in `Team`, where `config` describes the team.

    Returns
    -------
    Summary
        Also ``summary.json`` and ``report.md`` in the folder.

    Raises
    ------
    ConfigError
        If a name or setting cannot be used.
    RunError
        If the folder cannot be used (`ResumeRefused`: its run had other settings or data), or too
        many samples failed.
    BackendError
        If every further call would fail the same way. The folder can be resumed.
    """
    progress = progress or Silent()
    options = dict(backend_options or {})
    loaded = tasks.load(config.task, config.split, data_dir=data_dir, download=download)
    if not loaded.tasks:
        raise ConfigError(f"data set {config.task!r} has no questions in split {config.split!r}")
    own = team is None
    if team is None:
        if data_dir is not None:
            options.setdefault("data_dir", data_dir)
        team = Team.from_config(
            config.team or _TEAMS[loaded.tasks[0].kind],
            backend=config.backend,
            backend_options=options or None,
            prices=prices,
            limiter=limiter,
            retry=retry,
        )
    bench = _Bench(config, team, _questions(config, loaded, team), loaded)
    bench.check()
    try:
        decisive = config.decisive(team)
        with closing(
            open_folder(
                out,
                config={"hash": config_hash(decisive), **decisive},
                meta=facts.meta(config, loaded, bench.questions.reported),
                resume=resume,
                secrets=facts.secrets(options),
            )
        ) as folder:
            return run_sync(bench.run(folder, progress))
    finally:
        progress.close()
        if own:
            team.close()


@dataclass(frozen=True)
class _Questions:
    """Disjoint sets of questions."""

    reported: tuple[Task, ...]
    train: tuple[Task, ...] = ()
    validation: tuple[Task, ...] = ()
    left_out: int = 0


def _questions(config: BenchConfig, loaded: TaskSet, team: Team) -> _Questions:
    counts = [count for backend in _distinct(team) if (count := getattr(backend, "samples", None))]
    able = [task for task in loaded if all(count(task.id) for count in counts)]
    parts = tasks.split_by_hash(able)
    if config.calibrate:
        # Whoever tries three questions must not pay for thousands of others first.
        most = config.limit if config.calibration_limit is None else config.calibration_limit
        return _Questions(
            parts["test"][: config.limit],
            parts["train"][:most],
            parts["validation"][:most],
            len(loaded) - len(able),
        )
    chosen = tuple(able) if config.part is None else parts[config.part]
    return _Questions(chosen[: config.limit], left_out=len(loaded) - len(able))


def _distinct(team: Team) -> list[Any]:
    return list({id(backend): backend for backend in team.backends.values()}.values())


class _Bench:
    """One run: knows the settings, the team and the questions."""

    def __init__(
        self, config: BenchConfig, team: Team, questions: _Questions, loaded: TaskSet
    ) -> None:
        self.config, self.questions, self.loaded = config, questions, loaded
        self.scorers = config.scorers or loaded.scorers
        switches = {name: getattr(config.routing, name) for name in config.routing.model_fields_set}
        if isinstance(config.anytime, float):
            switches["anytime"] = config.anytime
        self.team = team.with_routing(**switches)

    def check(self) -> None:
        """Meet wrong names before the first call is made.

        Raises
        ------
        ConfigError
        """
        for scorer in self.scorers:
            tasks.scorers.get(scorer)
        if not self.questions.reported:
            raise ConfigError("no question is left to ask; check limit, part and the recorded runs")
        if self.config.calibrate and not (self.questions.train and self.questions.validation):
            raise ConfigError(
                f"{self.config.task}/{self.config.split} is too small to calibrate on"
            )
        for row in self.config.rows:
            if row.topology not in MATCHED:
                self._row_team(row, row.topology, 0)

    async def run(self, folder: RunFolder, progress: Progress) -> report.Summary:
        config = self.config
        store = CacheStore(folder.replies) if config.cache else None
        self.team = copy.copy(self.team)
        self.team.cache = store
        allowance = Allowance(tokens=config.budget_tokens)
        allowance.spent.tokens = folder.tally.charged
        runner = Runner(
            folder,
            scorers=self.scorers,
            allowance=allowance,
            concurrency=config.concurrency,
            progress=progress,
            fail_on_error=config.fail_on_error,
            prices=self.team.prices,
            name=folder.path.name,
        )
        try:
            if config.calibrate:
                await self._calibrate(runner)
            specs = {row.name: (row.topology, self._warmed(row)) for row in config.rows}
            plain = [row for row in config.rows if row.topology not in MATCHED]
            await runner.run(self._items(plain, specs), "rows")
            matched = [row for row in config.rows if row.topology in MATCHED]
            if matched and not runner.exhausted:
                specs |= self._match(folder, matched)
                await runner.run(self._items(matched, specs), "matched rows")
        finally:
            if store is not None:
                store.close()
        summary = self._summary(folder, specs, runner.exhausted)
        folder.write("summary.json", summary.to_json())
        folder.write("report.md", report.to_markdown(summary))
        return summary

    async def _calibrate(self, runner: Runner) -> None:
        """Measure reliabilities on the training part, choose the threshold on validation."""
        folder, config = runner.folder, self.config
        await runner.run(calibrate.agent_items(self.team, self.questions.train), "calibration")
        if runner.exhausted:
            return
        found = calibrate.reliabilities(self.team, folder.samples)
        self.team = self.team.with_reliability(folder.decide("reliability", found))
        if config.anytime != "calibrated":
            return
        first = config.topologies[0]
        items = calibrate.threshold_items(
            self._row_team(first, first.topology, 0), self.questions.validation
        )
        await runner.run(items, "threshold")
        if not runner.exhausted:
            chosen = folder.decide("anytime", calibrate.choose_threshold(folder.samples))
            self.team = self.team.with_routing(anytime=chosen)

    def _match(self, folder: RunFolder, rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
        """Topologies that use as many tokens as the first row did."""
        tokens = baselines.mean_tokens(folder.samples.values(), self.config.rows[0].name)
        speech = baselines.speech_tokens(self.team, folder.tally)
        found = {}
        for row in rows:
            matched = baselines.matched_topology(
                row.topology, self.team, self.questions.reported, tokens, speech
            )
            spec, remark = folder.decide(row.name, matched)
            found[row.name] = spec, "; ".join(filter(None, (remark, self._warmed(row))))
        return found

    def _items(self, rows: Sequence[Row], specs: Mapping[str, tuple[str, str]]) -> list[Item]:
        """Question by question, so that a spent budget leaves every row with the same questions."""
        seeds = {row.name: row.seeds or self.config.seeds for row in rows}
        teams = {
            (row.name, seed): self._row_team(row, specs[row.name][0], seed)
            for row in rows
            for seed in range(seeds[row.name])
        }
        return [
            Item(row.name, seed, task, teams[row.name, seed])
            for seed in range(max(seeds.values(), default=0))
            for task in self.questions.reported
            for row in rows
            if seed < seeds[row.name]
        ]

    def _row_team(self, row: Row, topology: str, seed: int) -> Team:
        """The team with nothing changed but the row's topology and its switches."""
        name, _, written = topology.partition(":")
        if name == "random" and "seed=" not in written:
            topology = f"{name}:{','.join(filter(None, (written, f'seed={seed}')))}"
        team = self.team.with_topology(topology).with_routing(**row.switches)
        temperature = SAMPLED if self._warmed(row) else row.temperature
        return team if temperature is None else team.with_temperature(temperature)

    def _warmed(self, row: Row) -> str:
        """Remark on a row of self-consistency whose agent would be greedy; empty for others."""
        first = best_first(self.team.agents.values())[0]
        greedy = row.temperature is None and first.sampling.temperature == 0
        if not (greedy and row.topology.startswith("self_consistency")):
            return ""
        return f"sampled at temperature {SAMPLED:g}, since the agent is greedy"

    def _summary(
        self, folder: RunFolder, specs: Mapping[str, tuple[str, str]], stopped: str
    ) -> report.Summary:
        samples: dict[str, list[dict[str, Any]]] = {row.name: [] for row in self.config.rows}
        for record in folder.samples.values():
            if record["row"] in samples:
                samples[record["row"]].append(record)
        rows = [
            report.summarise_row(
                row.name,
                specs[row.name][0],
                samples[row.name],
                len(self.questions.reported) * (row.seeds or self.config.seeds),
                self.scorers,
                specs[row.name][1],
            )
            for row in self.config.rows
        ]
        prices = self.team.prices
        return report.Summary(
            task=f"{self.loaded.name}/{self.loaded.split}",
            scorer=self.scorers[0],
            rows=report.compare_with_first(rows, samples),
            made_tokens=folder.tally.tokens,
            made_calls=folder.tally.calls,
            calibration_tokens=calibrate.spent(folder.samples.values()),
            decisions=dict(folder.decisions),
            replayed=not any(getattr(b, "cacheable", True) for b in _distinct(self.team)),
            left_out=self.questions.left_out,
            stopped=stopped,
            currency=prices.currency if prices else "",
            path=folder.path.name,
        )
