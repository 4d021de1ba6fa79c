"""Every estimator, and every family of layers, in every quantisation."""

from __future__ import annotations

import pytest

from autokit.deploy.quantizers import QUANTIZERS
from autokit.testing.estimators import TINY
from autokit.testing.export import CASES, check_export


@pytest.mark.parametrize("quantization", QUANTIZERS)
@pytest.mark.parametrize("name", CASES)
def test_contract(name, quantization, tmp_path):
    check_export(name, quantization, tmp_path)


def test_no_estimator_is_left_out():
    assert {case.estimator for case in CASES.values()} == set(TINY)
