"""The suite for ``pytest --pyargs hyperagent.testing --backend SPEC``."""

from __future__ import annotations

import pytest

from hyperagent.llm import Backend
from hyperagent.testing.plugin import backend_factory
from hyperagent.testing.suite import BackendSuite


class TestBackend(BackendSuite):
    """The backend that the command line names."""

    @pytest.fixture(autouse=True)
    def _named(self, pytestconfig: pytest.Config) -> None:
        self._make = pytestconfig.stash[backend_factory]

    def make_backend(self) -> Backend:
        return self._make()
