"""The codebook: codes, choice by task, bytes, and wrong files."""

from __future__ import annotations

import numpy as np
import pytest

from hyperagent.errors import ConfigError
from hyperagent.testing.world import World
from hyperagent.topology import Designer, designer
from hyperagent.topology.candidates import portfolio, sub_hypergraphs
from hyperagent.topology.codebook import MOST, CodebookDesigner, default_codes

WORLD = World(skills=4, copies=1, pairs=(1, 1))
MONEY = {"price": 1.0, "scale": 6000.0}
GROUP = portfolio(WORLD.agents)["role_cover"]


@pytest.fixture(scope="module")
def learned():
    """Six codes, one for each pair of skills, and everybody; 2,000 executions."""
    pairs = [h for h in sub_hypergraphs(GROUP, 2) if len(h.seated()) == 2]
    codes, tasks = [GROUP, *pairs], WORLD.tasks(2000, 1)
    log = [WORLD.execute(t, codes[i % len(codes)], i) for i, t in enumerate(tasks)]
    by_id = {task.id: task for task in tasks}
    return CodebookDesigner.fit(codes, log, by_id, WORLD.agents, **MONEY), log, by_id


def test_it_chooses_by_task_and_beats_its_best_code(learned) -> None:
    book, _, _ = learned
    assert isinstance(book, Designer)
    test = WORLD.tasks(200, 2)
    chosen = [book.design(task, WORLD.agents).hypergraph for task in test]
    reward = np.mean([WORLD.reward(t, g, **MONEY) for t, g in zip(test, chosen, strict=True)])
    fixed = max(np.mean([WORLD.reward(t, g, **MONEY) for t in test]) for g in book.codes)
    assert reward > fixed
    assert len({g.digest() for g in chosen}) >= 3
    shuffled = np.mean(
        [WORLD.reward(t, g, **MONEY) for t, g in zip(test[1:], chosen, strict=False)]
    )
    assert shuffled < reward - 0.03, "what is chosen depends on the task"


def test_order_and_seed_change_nothing_and_bytes_are_equal(learned, tmp_path) -> None:
    book, log, tasks = learned
    again = CodebookDesigner.fit(book.codes, log, tasks, WORLD.agents[::-1], **MONEY)
    for folder, one in (("a", book), ("b", again)):
        one.save(tmp_path / folder)
    a, b = (tmp_path / x / "weights.safetensors" for x in "ab")
    assert a.read_bytes() == b.read_bytes()
    task = WORLD.tasks(1, 5)[0]
    want = book.design(task, WORLD.agents)
    assert book.design(task, WORLD.agents[::-1], seed=7) == want
    loaded = designer(f"codebook:weights={tmp_path / 'a'}")
    assert loaded.design(task, WORLD.agents) == want
    assert (loaded.scores(task) == book.scores(task)).all()


def test_a_dearer_token_never_buys_more_tokens(learned) -> None:
    book, _, _ = learned
    tokens = []
    for price in (0.0, 0.25, 1.0, 4.0):
        other = CodebookDesigner(
            book.codes, book.reader, book.models, book.tokens, price=price, scale=6000.0
        )
        test = WORLD.tasks(50, 3)
        picks = [other.design(task, WORLD.agents).hypergraph for task in test]
        tokens.append(np.mean([WORLD.bill(g) for g in picks]))
    assert tokens == sorted(tokens, reverse=True)
    assert tokens[0] > tokens[-1]


def test_the_default_codes() -> None:
    agents = World().agents
    fixed = portfolio(agents)["role_cover"]
    codes = default_codes(agents, fixed)
    assert len(codes) == MOST == len({code.digest() for code in codes})
    assert codes[0] == fixed.canonical()
    assert set(codes) >= {graph.canonical() for graph in portfolio(agents).values()} & set(codes)
    assert any(len(code.seated()) == len(fixed.seated()) - 1 for code in codes)


def test_a_member_who_is_missing_closes_a_code(learned) -> None:
    book, _, _ = learned
    task = WORLD.tasks(1, 5)[0]
    left = WORLD.agents[:2]
    design = book.design(task, left).hypergraph
    assert set(design.seated()) <= {agent.id for agent in left}
    with pytest.raises(ConfigError, match="not in this team"):
        book.design(task, WORLD.agents[:1])


def test_wrong_arguments_and_files_are_named(learned, tmp_path) -> None:
    book, log, tasks = learned
    for arguments, words in (
        (([], book.reader, [], []), "1 to 16"),
        ((book.codes, book.reader, book.models, book.tokens[:1]), "as many"),
    ):
        with pytest.raises(ConfigError, match=words):
            CodebookDesigner(*arguments, **MONEY)
    with pytest.raises(ConfigError, match="scale"):
        CodebookDesigner(book.codes, book.reader, book.models, book.tokens, price=0.1, scale=0.0)
    with pytest.raises(ConfigError, match="unknown task"):
        CodebookDesigner.fit(book.codes, log, {}, WORLD.agents, **MONEY)
    with pytest.raises(ConfigError, match="no execution"):
        CodebookDesigner.fit(book.codes, [], tasks, WORLD.agents, **MONEY)
    with pytest.raises(ConfigError, match="codebook"):
        CodebookDesigner.load(tmp_path)
    book.save(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(ConfigError, match="codebook: cannot use the weights"):
        CodebookDesigner.load(tmp_path)
