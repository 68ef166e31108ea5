"""Fixtures of the bench's tests."""

from conftest_bench import data_dir, team

__all__ = ["data_dir", "team"]
