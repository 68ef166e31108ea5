"""Fixtures of the learning room's tests."""

from learning_parts import data_dir, quick

__all__ = ["data_dir", "quick"]
