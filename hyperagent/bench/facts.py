"""What a run folder says about the machine and the program, and what it must not say."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hyperagent import credentials
from hyperagent.bench.plan import BenchConfig
from hyperagent.tasks import Task, TaskSet


def meta(config: BenchConfig, loaded: TaskSet, reported: Sequence[Task]) -> dict[str, Any]:
    """Facts about this start, none of which names the machine or its user."""
    content = sha256()
    for task in reported:
        content.update(f"{task.id}\n{task.content_hash()}\n{task.answer}\n".encode())
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {name: v for name in _PACKAGES if (v := _version(name))},
        "git": _revision(),
        "concurrency": config.concurrency,
        "budget_tokens": config.budget_tokens,
        "data": {
            "name": loaded.name,
            "split": loaded.split,
            "sha256": loaded.sha256,
            "questions": len(reported),
            "questions_sha256": content.hexdigest(),
            "source": loaded.source,
            "licence": loaded.licence,
        },
    }


_PACKAGES = ("hyperagent", "openai", "httpx", "httpx2", "pydantic", "numpy", "torch", "xllamacpp")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Git revision of the checkout that this code runs from, None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode().strip() or None


def secrets(options: Mapping[str, Any]) -> list[str]:
    """Keys that must not reach a file: those given, and those in the environment."""
    found = sorted(credentials.in_environment())
    key = options.get("api_key")
    if key is not None:
        found.append(key.get_secret_value() if hasattr(key, "get_secret_value") else str(key))
    return found
