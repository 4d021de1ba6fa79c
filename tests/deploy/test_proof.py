from __future__ import annotations

import numpy as np
import pytest

from autokit.deploy.proof import ExportError, compare

EXPECTED = np.array([[0.9, 0.1]] * 40)


def _compare(got, expected=EXPECTED, quantization="int8", **options):
    return compare({"output": expected}, {"output": got}, quantization=quantization, **options)


def test_figures():
    got = EXPECTED.copy()
    got[0] = [0.85, 0.15]
    result = _compare(got)
    assert result.max_abs_error == pytest.approx(0.05)
    assert result.agreement == 1.0


def test_one_stray_row_is_allowed_when_quantised_but_not_in_float():
    got = EXPECTED.copy()
    got[0] = [0.2, 0.8]
    assert _compare(got).agreement == 39 / 40
    with pytest.raises(ExportError, match=r"float32 file disagrees .*\(2.5% of 40 rows"):
        _compare(got, quantization=None)


def test_too_many_other_classes_are_refused_within_the_tolerance():
    got = EXPECTED[:, ::-1]
    with pytest.raises(ExportError, match="class agrees on 0.0% of rows"):
        _compare(got, tolerance=0.85 - 0.06)
    # what Keras itself holds for a tie is not held against the file
    tie = np.array([[0.51, 0.49]] * 40)
    assert _compare(tie[:, ::-1], tie).agreement == 0.0


def test_nan_in_the_file_is_refused():
    got = EXPECTED.copy()
    got[3] = np.nan
    with pytest.raises(
        ExportError, match="file outputs NaN or infinity where Keras does not, on 1 of"
    ):
        _compare(got)


def test_other_outputs_are_measured_by_their_own_range():
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(100, 2)) * [1e6, 1]
    assert _compare(expected + [1e3, 1e-3], expected).agreement is None
    with pytest.raises(ExportError, match="outputs, as a share of their range"):
        _compare(expected + [0, 1e3], expected)


def test_constant_outputs():
    constant = np.full((10, 1), 5.0)
    assert _compare(constant, constant, quantization=None).max_abs_error == 0
    assert _compare(np.zeros((10, 1)), np.zeros((10, 1)), quantization=None).max_abs_error == 0


def test_whether_outputs_are_probabilities_can_be_told():
    assert _compare(EXPECTED, is_probability=False).agreement is None
