"""Price lists: exact names, globs, and unknown is never 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperagent import errors
from hyperagent.llm import ModelPrice, Prices, Usage

LIST = """
currency: EUR
models:
  "gpt-*": {prompt: 10, completion: 30}
  "gpt-4o-mini*": {prompt: 0.15, completion: 0.6, cached: 0.075}
  gpt-4o-mini: {prompt: 1, completion: 2}
  local: {prompt: 0, completion: 0}
"""


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    path = tmp_path / "prices.yaml"
    path.write_text(LIST)
    return Prices.load(path)


@pytest.mark.parametrize(
    ("names", "per_million_prompt_tokens"),
    [
        (("gpt-4o-mini",), 1),  # exact before glob
        (("gpt-4o-mini-2024-07-18",), 0.15),  # longest glob
        (("gpt-4",), 10),
        (("openai:gpt-4",), 10),
        (("openai:gpt-4o-mini@http://127.0.0.1:1/v1",), 1),
        (("", "openai:gpt-4"), 10),
        (("unheard-of", "openai:gpt-4"), 10),
        (("local",), 0),
        (("unheard-of", "openai:claude"), None),
        (("GPT-4",), None),
        ((), None),
    ],
)
def test_which_price_applies(
    prices: Prices, names: tuple[str, ...], per_million_prompt_tokens: float | None
) -> None:
    assert prices.price(Usage(1_000_000, 0), *names) == per_million_prompt_tokens


def test_more_cached_tokens_than_the_prompt_has_earn_nothing(prices: Prices) -> None:
    assert prices.price(Usage(10, 0, 1_000_000), "gpt-4o-mini-x") == pytest.approx(10 * 0.075e-6)


def test_cached_tokens_have_their_own_price(prices: Prices) -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=100, cached_tokens=400)
    assert prices.price(usage, "gpt-4o-mini-x") == pytest.approx(
        (600 * 0.15 + 400 * 0.075 + 100 * 0.6) / 1e6
    )
    assert prices.price(usage, "gpt-4") == pytest.approx((1000 * 10 + 100 * 30) / 1e6)
    assert prices.currency == "EUR"


@pytest.mark.parametrize("usage", [Usage(), Usage(5, None), Usage(None, 5)])
def test_unknown_tokens_have_an_unknown_price(usage: Usage) -> None:
    assert Prices({"m": ModelPrice(prompt=1, completion=1)}).price(usage, "m") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {m: {prompt: 1, completion: 1, cashed: 1}}", "Did you mean 'cached'"),
        ("models: {m: {prompt: 1}}", "completion"),
        ("models: {m: {prompt: -1, completion: 1}}", "prompt"),
        ("model: {}", "Did you mean 'models'"),
        ("- 1", "mapping"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(errors.ConfigError, match=message):
        Prices.load(path)
