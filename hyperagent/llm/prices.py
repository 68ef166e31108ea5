"""What a call costs, from the user's own price list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import Field

from hyperagent.config import StrictModel, load_yaml, validate
from hyperagent.llm.types import Usage


class ModelPrice(StrictModel):
    """Prices of one model, in currency per million tokens.

    Attributes
    ----------
    prompt, completion : float
    cached : float or None
        For prompt tokens that the server found in its cache; None: as `prompt`.
    provider, listed : str
        Whose public list the price stands on, and the year and month of that list
        (``"2024-07"``); empty if the owner of the file did not say.
    """

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    provider: str = ""
    listed: str = Field(default="", pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$")


class _File(StrictModel):
    currency: str = "USD"
    models: dict[str, ModelPrice]


class Prices:
    """Prices by model name.

    A file looks like this::

        currency: USD
        models:
          gpt-4o-mini*: {prompt: 0.15, completion: 0.6, cached: 0.075}

    Parameters
    ----------
    models : mapping of str to ModelPrice
        The key is a model name or a glob. An exact name wins over globs, and among globs
        the longest.
    currency : str
        Only named, never converted.
    """

    def __init__(self, models: Mapping[str, ModelPrice], currency: str = "USD") -> None:
        self.currency = currency
        self._exact = {
            name: price for name, price in models.items() if not re.search(r"[*?[]", name)
        }
        self._globs = sorted(
            ((name, price) for name, price in models.items() if name not in self._exact),
            key=lambda item: (-len(item[0]), item[0]),
        )
        self._found: dict[str, ModelPrice | None] = {}

    @classmethod
    def load(cls, path: str | Path) -> Prices:
        """Read a YAML file.

        Raises
        ------
        ConfigError
            If the file cannot be read, or holds a key or value that is not understood.
        """
        data = validate(_File, load_yaml(path), str(path))
        return cls(data.models, data.currency)

    def find(self, *names: str) -> ModelPrice | None:
        """Prices of the first of `names` that is listed; None if none of them is.

        A backend spec such as ``"openai:gpt-4o-mini@http://host/v1"`` is also looked up
        without its backend, and without its address.
        """
        for name in names:
            if name not in self._found:
                self._found[name] = self._look_up(name)
            if self._found[name] is not None:
                return self._found[name]
        return None

    def _look_up(self, spec: str) -> ModelPrice | None:
        rest = spec.partition(":")[2]
        names = [name for name in (spec, rest, rest.partition("@")[0]) if name]
        for name in names:
            if name in self._exact:
                return self._exact[name]
        for glob, price in self._globs:
            if any(fnmatchcase(name, glob) for name in names):
                return price
        return None

    def price(self, usage: Usage, *names: str) -> float | None:
        """Price of a call of the model called `names`.

        None if the model is not listed or a token count is unknown: never 0 by default.
        """
        model = self.find(*names)
        if model is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        # A server that reports more cached tokens than the prompt has must not earn us money.
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        rate = model.prompt if model.cached is None else model.cached
        return (
            (usage.prompt_tokens - cached) * model.prompt
            + cached * rate
            + usage.completion_tokens * model.completion
        ) / 1e6
