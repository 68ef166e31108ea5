"""The command ``hyperagent``."""

from hyperagent.cli.app import main

__all__ = ["main"]
