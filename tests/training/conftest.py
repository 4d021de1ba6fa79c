from __future__ import annotations

import numpy as np
import pytest

from autokit.training import Batch, clear_programs


@pytest.fixture
def blobs():
    """Three separable classes in five dimensions, 90 rows."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3, dtype="int32"), 30)
    centres = rng.normal(size=(3, 5)) * 3
    return Batch((centres[y] + rng.normal(size=(90, 5))).astype("float32"), y)


@pytest.fixture(autouse=True)
def no_programs():
    clear_programs()
    yield
    clear_programs()
