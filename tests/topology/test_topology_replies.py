"""Recorded replies as arrays, and what is read from their text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded_world import world

from hyperagent.errors import ConfigError
from hyperagent.llm import Prices, RecordedBackend
from hyperagent.tasks import load, score
from hyperagent.topology.replies import Played, Replies, answer_codes, recorded_replies
from hyperagent.topology.reply_features import (
    QUESTION_FEATURES,
    REPLY_FEATURES,
    check_calculations,
    question_features,
    reply_features,
)

PRICES = Path(__file__).parents[2] / "configs" / "prices.yaml"
RUNS = {
    "llama": "mack_Llama-3.1-8B-Instruct_few-shot",
    "mini": "re2_gpt-4o-mini-2024-07-18_base_vanilla",
}


def test_codes_follow_the_spelling() -> None:
    spelled = np.array([["9", "12", "9", None], [None, None, "3", "3"]], dtype=object)
    assert answer_codes(spelled).tolist() == [[1, 0, 1, -1], [-1, -1, 0, 0]]


def test_rows_and_seats_keep_their_numbers() -> None:
    replies = world(20)
    part = replies.take(np.arange(20) % 2 == 0).seat(["strong", "cheap"])
    assert part.questions == replies.questions[::2]
    np.testing.assert_array_equal(part.dollars, replies.dollars[::2][:, [2, 0]])
    np.testing.assert_array_equal(part.reply_features, replies.reply_features[::2][:, [2, 0]])
    with pytest.raises(ConfigError, match="nobody"):
        replies.seat(["nobody"])
    with pytest.raises(ConfigError, match="objective"):
        replies.costs("time")


def test_folds_depend_on_the_content_alone_and_are_even() -> None:
    replies = world(2000)
    folds = replies.folds(5)
    assert np.bincount(folds).min() > 330
    order = np.random.default_rng(0).permutation(2000)
    np.testing.assert_array_equal(replies.take(order).folds(5), folds[order])
    inner = replies.folds(5, part=1)
    table = np.histogram2d(folds, inner, bins=5)[0]
    assert table.min() > 45, "the two halves of the hash are independent"


def test_an_outcome_pays_for_everybody_who_was_asked() -> None:
    replies = world(10)
    asked = np.zeros((10, 3), dtype=bool)
    asked[:, [0, 2]] = True
    outcome = Played.of(replies, np.full(10, 2), asked)
    np.testing.assert_allclose(outcome.dollars, replies.dollars[:, 0] + replies.dollars[:, 2])
    tokens = replies.costs("tokens")[:, [0, 2]].sum(axis=1)
    np.testing.assert_allclose(outcome.cost("tokens"), tokens)
    np.testing.assert_array_equal(outcome.correct, replies.correct[:, 2])


@pytest.mark.parametrize(
    ("reply", "results", "wrong"),
    [
        ("16 - 7 = 9 eggs. Then 9 * 2 = 18 dollars.", [9, 18], 0),
        ("9 eggs * $2/egg = $18", [], 0),
        ("\\[ 3 \\times 4 = 13 \\]", [13], 1),
        ("$1,200 + $300 = $1,500", [1500], 0),
        ("2 + 2 = 5 and 10 / 4 = 2.5", [5, 2.5], 1),
        ("6 × 7 = 42, 42 ÷ 6 = 7, 9 − 4 = 6", [42, 7, 6], 1),
        ("no sums here, only 12", [], 0),
    ],
)
def test_calculations_are_recomputed(reply: str, results: list[float], wrong: int) -> None:
    assert check_calculations(reply) == (results, wrong)


def test_features_have_their_names() -> None:
    question = "Ann has 12 pens and half as many cups. Each pen costs $2.50. How many more?"
    asked = dict(zip(QUESTION_FEATURES, question_features(question), strict=True))
    assert (asked["numbers"], asked["multiples"], asked["rates"]) == (2, 1, 1)
    assert asked["decimal point"] == 1
    assert asked["money"] == 1
    reply = "12 / 2 = 7 cups.\n\nApproximately the answer is 7"
    seen = dict(zip(REPLY_FEATURES, reply_features(question, reply, "7"), strict=True))
    assert (seen["calculations"], seen["wrong calculations"]) == (1, 1)
    assert seen["question numbers unused"] == 1
    assert (seen["hedges"], seen["final marker"], seen["ends in mid-sentence"]) == (1, 1, 1)
    assert seen["answer is a stated result"] == 1
    for odd in ("", "∞", "9" * 99 + ".", "\\frac{1}{0}", "= = = 1e999"):
        assert np.isfinite(reply_features(odd, odd, None)).all()
        assert np.isfinite(reply_features(odd, odd, "9" * 99)).all()


@pytest.mark.parametrize(
    ("reply", "stated", "value"),
    [
        ("NOTE\nanswer: 7\nconfidence: 0.8\nfact: 3+4 is 7", 1, 0.8),
        ('{"answer": "7", "confidence": 0.25}', 1, 0.25),
        ("**Confidence:** 1", 1, 1.0),
        ("I say so with confidence. 7", 0, 0.5),
        ("confidence 90%", 0, 0.5),
        ("The answer is 7.", 0, 0.5),
    ],
)
def test_a_stated_confidence_is_read(reply: str, stated: int, value: float) -> None:
    seen = dict(zip(REPLY_FEATURES, reply_features("3 and 4?", reply, "7"), strict=True))
    assert (seen["states a confidence"], seen["stated confidence"]) == (stated, value)


def test_every_listed_price_says_whose_it_is_and_when() -> None:
    prices = Prices.load(PRICES)
    for name in ("gpt-4o-mini-2024-07-18", "Llama-3.1-8B-Instruct", "gpt-4 (2023)"):
        price = prices.find(name)
        assert price is not None
        assert price.provider
        assert price.listed.startswith("20")


def test_a_date_must_be_a_month(tmp_path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("models:\n  m: {prompt: 1, completion: 1, listed: yesterday}\n")
    with pytest.raises(ConfigError, match="listed"):
        Prices.load(path)


@pytest.fixture(scope="module")
def few(replay_math) -> tuple[Replies, list]:
    tasks = [t for t in load("gsm8k", data_dir=replay_math) if int(t.id.rpartition("_")[2]) < 60]
    return recorded_replies(tasks, RUNS, Prices.load(PRICES), data_dir=replay_math), tasks


def test_recorded_replies_are_scored_as_everywhere(few, replay_math) -> None:
    replies, tasks = few
    by_id = {task.id: task for task in tasks}
    assert len(replies) >= 30
    for j, run in enumerate(RUNS.values()):
        backend = RecordedBackend(run, data_dir=replay_math)
        for i, name in enumerate(replies.questions):
            stated = backend.prediction(name)
            if stated.answer is not None:
                judged = score(by_id[name], stated.answer).correct
                assert replies.correct[i, j] == judged
    assert 0.5 < replies.correct.mean() <= 1.0


def test_dollars_are_tokens_at_the_list_price(few) -> None:
    replies, _ = few
    for j, (prompt, completion) in enumerate([(0.18, 0.18), (0.15, 0.60)]):
        paid = replies.prompt_tokens[:, j] * prompt + replies.completion_tokens[:, j] * completion
        np.testing.assert_allclose(replies.dollars[:, j], paid / 1e6)


def test_prompts_beyond_the_question_can_be_counted(few, replay_math) -> None:
    replies, tasks = few
    longer = recorded_replies(
        tasks, RUNS, Prices.load(PRICES), extra_prompt={"llama": 900}, data_dir=replay_math
    )
    added = longer.dollars - replies.dollars
    np.testing.assert_allclose(added, np.tile([900 * 0.18e-6, 0.0], (len(replies), 1)), atol=1e-12)


def test_a_model_without_a_price_is_refused(few, replay_math) -> None:
    with pytest.raises(ConfigError, match="no price is listed for 'Abel"):
        recorded_replies(few[1], {"abel": "abel_7b"}, Prices.load(PRICES), data_dir=replay_math)
