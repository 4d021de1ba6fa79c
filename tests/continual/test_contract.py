from __future__ import annotations

import pytest

from autokit.continual import STRATEGIES
from autokit.testing.continual import StrategyContract, short


@pytest.fixture(scope="class", params=STRATEGIES)
def _name(request):
    request.cls.name = request.param


@pytest.mark.usefixtures("_name")
class TestEveryStrategy(StrategyContract):
    name: str

    def make_strategy(self):
        return short(self.name)
