from __future__ import annotations

import pytest

from autokit.meta.methods import METHODS
from autokit.testing.meta import MetaLearnerContract, short


@pytest.fixture(scope="class", params=METHODS)
def _name(request):
    request.cls.name = request.param


@pytest.mark.usefixtures("_name")
class TestEveryMethod(MetaLearnerContract):
    name: str

    def make_method(self):
        return short(self.name)
