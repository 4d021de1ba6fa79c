"""One worker for all tests that only look at what rounds give: it takes seconds to load TFF."""

from __future__ import annotations

import pytest

from autokit.federated.engines.tff import environment


@pytest.fixture(scope="session")
def tff_python():
    """The interpreter of an environment; without one, the test is skipped."""
    where = environment.folder()
    if not environment.is_installed(where):
        pytest.skip(f"no TensorFlow Federated in {where}: '{environment.COMMAND}' installs it")
    return environment.python_of(where)


class _Lent:
    """A worker that stays when it is closed."""

    def __init__(self, worker) -> None:
        self._worker = worker

    def __getattr__(self, name):
        return getattr(self._worker, name)

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def _worker(tff_python):
    from autokit.federated.engines.tff.process import Worker

    with Worker(tff_python) as worker:
        yield worker


@pytest.fixture
def lent_worker(_worker, monkeypatch):
    """Runs of this test share one process."""
    from autokit.federated.engines.tff import engine

    monkeypatch.setattr(engine, "Worker", lambda python: _Lent(_worker))
    return _worker
