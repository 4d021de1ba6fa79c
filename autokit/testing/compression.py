"""The contract of every compression method with every estimator, as tests to reuse.

A new estimator joins with its row in `autokit.testing.estimators.TINY`, a new method with one in
`METHODS`::

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("name", TINY)
    def test_contract(name, method, fitted):
        check_compression(*fitted(name), method)
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_SHORT = {"epochs": 2, "random_state": 0}

# Method -> parameters with which it takes a moment and still changes a tiny network.
METHODS: dict[str, dict[str, Any]] = {
    "Cluster": _SHORT | {"n_clusters": 8, "layers": callable},
    "Distill": _SHORT,
    "Factorize": _SHORT | {"rank": 2},
    "OptimalBrainDamage": _SHORT | {"sparsity": 0.5, "layers": callable},
    "Prune": _SHORT | {"sparsity": 0.5, "layers": callable},
    "PruneBlocks": _SHORT | {"share": 0.3, "rounds": 1},
    "QuantizeAware": _SHORT,
}


def make(method: str, teacher: Any = None) -> Any:
    """A method with its short settings; `Distill` learns from `teacher`."""
    parameters = dict(METHODS[method])
    if method == "Distill":
        parameters["teacher"] = teacher
    if parameters.get("layers") is callable:
        parameters["layers"] = _is_dense
    return getattr(importlib.import_module("autokit.compression"), method)(**parameters)


def check_compression(estimator: Any, X: Any, y: Any, method: str) -> Any:
    """Compress a fitted estimator, and check what all methods promise.

    Parameters
    ----------
    estimator : estimator
        Fitted to `X` and `y`.
    X, y : array-like
    method : str
        A key of `METHODS`.

    Returns
    -------
    estimator
        The compressed copy.
    """
    from autokit import load, save
    from autokit.deploy import TFLiteModel, export_tflite

    before = _answers(estimator, X)
    compressed = make(method, teacher=estimator).compress(estimator, X, y)
    np.testing.assert_array_equal(_answers(estimator, X), before, "the original has changed")
    assert not hasattr(estimator, "compression_report_")
    assert type(compressed) is type(estimator)
    assert compressed.model_ is not estimator.model_
    report = compressed.compression_report_
    assert report.method == method
    assert np.isfinite([report.score_before, report.score_after]).all()
    assert report.n_weights_after == _n_weights(compressed.model_)
    answers = _answers(compressed, X)
    assert answers.shape == before.shape
    assert np.isfinite(answers).all()

    with tempfile.TemporaryDirectory() as folder:
        again = load(save(compressed, Path(folder) / "compressed.autokit"))
        np.testing.assert_array_equal(_answers(again, X), answers)
        assert again.held_ == compressed.held_
        path = Path(folder) / "compressed.tflite"
        export_tflite(compressed, path, representative_data=X, tolerance=0.1)
        got = TFLiteModel(path).predict(X)
        if hasattr(estimator, "classes_"):
            assert np.mean(got == compressed.predict(X)) > 0.95
        else:
            near = np.abs(got - compressed.predict(X)) < 0.1 * np.ptp(y)
            assert near.mean() > 0.95
    if hasattr(compressed, "partial_fit"):
        zeros = [compressed.model_.variables[i].numpy() == 0 for i in compressed.held_.zeros]
        compressed.partial_fit(X, y)
        for place, was_zero in zip(compressed.held_.zeros, zeros, strict=True):
            assert not compressed.model_.variables[place].numpy()[was_zero].any()
    return compressed


def _answers(estimator, X) -> np.ndarray:
    answer = getattr(estimator, "predict_proba", estimator.predict)
    return np.asarray(answer(X))


def _n_weights(model) -> int:
    return sum(int(np.prod(v.shape)) for v in model.variables if "float" in str(v.dtype))


def _is_dense(layer) -> bool:
    return type(layer).__name__ == "Dense"
