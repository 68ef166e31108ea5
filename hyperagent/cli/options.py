"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Kind(StrEnum):
    """What the answer to a question from the shell is."""

    AUTO = "auto"
    NUMBER = "number"
    TEXT = "text"
    CODE = "code"


BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="Server that speaks the OpenAI dialect; "
                 "ends in /v1."),
]  # fmt: skip
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", help="Model of that server; its first by "
                 "default."),
]  # fmt: skip
BackendSpec = Annotated[
    str | None,
    typer.Option("--backend", metavar="SPEC", help="Model as KIND:REST, e.g. openai:NAME@URL, "
                 "ollama:NAME, gguf:PATH, pocket, recorded:RUN."),
]  # fmt: skip
TeamName = Annotated[
    str | None,
    typer.Option("--team", metavar="NAME|FILE", help="Team, by name or as a YAML file."),
]
BudgetTokens = Annotated[
    int | None,
    typer.Option("--budget-tokens", metavar="N", min=1, help="Make no call that could pass this "
                 "many tokens."),
]  # fmt: skip
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="Longest turn of an agent."),
]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Settings file to read in place of the usual "
                 "ones."),
]  # fmt: skip
DataDir = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Directory with the data sets.")
]
Prices = Annotated[
    str | None, typer.Option("--prices", metavar="FILE", help="YAML file with prices of models.")
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Decoding seed; 0 by default.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks.")]
