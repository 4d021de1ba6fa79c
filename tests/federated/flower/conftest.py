"""One SuperLink with its nodes for all tests that only look at what rounds give."""

from __future__ import annotations

import pytest

from autokit.federated.engines.flower import FlowerEngine
from autokit.federated.engines.flower.installed import require_flower


@pytest.fixture(scope="session")
def flower():
    """Flower, or the test is skipped."""
    try:
        require_flower()
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def engine(flower):
    """Two nodes that are running."""
    with FlowerEngine(n_nodes=2, timeout_s=120.0).running() as started:
        yield started
