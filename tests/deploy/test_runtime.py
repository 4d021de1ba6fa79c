from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from autokit import TFLiteModel, export_tflite
from autokit.deploy import LatencyReport, benchmark

from .conftest import mixed_table
from .test_metadata import metadata_free


@pytest.fixture(scope="module")
def plain_file(tmp_path_factory, plain_model):
    return export_tflite(plain_model, tmp_path_factory.mktemp("plain") / "plain.tflite").path


def test_needs_neither_tensorflow_nor_keras_nor_scikit_learn(table_file, table_classifier):
    code = f"""
import json, sys
import numpy as np
from autokit import TFLiteModel
from autokit.deploy import benchmark
model = TFLiteModel({str(table_file)!r})
rows = np.array([[0.5, 1e4, 1990.0, "Rome"], [None, -2e5, 2001.0, None]], dtype=object)
proba = model.predict_proba(rows)
benchmark(model, n_runs=3)
loaded = [m for m in ("tensorflow", "keras", "sklearn", "pandas") if m in sys.modules]
print(json.dumps([model.predict(rows).tolist(), proba.tolist(), loaded]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    labels, proba, loaded = json.loads(result.stdout)
    assert loaded == []
    assert result.stderr == ""
    table, _ = mixed_table()
    rows = table.iloc[:2].assign(
        small=[0.5, np.nan], large=[1e4, -2e5], year=[1990.0, 2001.0], city=["Rome", None]
    )
    assert labels == table_classifier.predict(rows).tolist()
    np.testing.assert_allclose(proba, table_classifier.predict_proba(rows), atol=1e-5)


@pytest.mark.parametrize("n_rows", [1, 2, 255, 256, 257, 600])
def test_any_number_of_rows(table_file, table_classifier, n_rows):
    table, _ = mixed_table(600)
    model = TFLiteModel(table_file)
    rows = table[:n_rows]
    expected = table_classifier.predict_proba(rows)
    np.testing.assert_allclose(model.predict_proba(rows), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(rows[:1]), expected[:1], atol=1e-5)


def test_columns_are_checked(table_file):
    table, _ = mixed_table()
    model = TFLiteModel(table_file)
    with pytest.raises(ValueError, match="year"):
        model.predict(table.drop(columns="year"))
    with pytest.raises(ValueError, match="0 sample"):
        model.predict(table[:0])
    with pytest.raises(ValueError, match="large.*where numbers belong"):
        model.predict(table.assign(large="much"))


def test_classifier_facts(table_file):
    model = TFLiteModel(table_file)
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.metadata["quantization"] is None
    specs = model.specs()
    assert specs["numeric"] == ((3,), np.dtype("float32"))
    assert specs["categorical"][0] == (1,) and specs["categorical"][1].kind == "S"


def test_file_of_other_make_gives_raw_outputs_and_says_that_it_has_no_labels(
    table_file, plain_file, plain_model, tmp_path
):
    other = tmp_path / "other.tflite"
    other.write_bytes(metadata_free(plain_file))
    model = TFLiteModel(other)
    X = np.random.default_rng(0).normal(size=(5, 4))
    assert model.metadata == {}
    np.testing.assert_allclose(model.predict(X), plain_model(X), atol=1e-5)
    assert not hasattr(model, "classes_")
    with pytest.raises(AttributeError, match="holds no labels: autokit did not write it"):
        model.predict_proba(X)
    with pytest.raises(ValueError, match=r"X must be of shape \(n_samples, 4\).* got \(5, 3\)"):
        model.predict(X[:, :3])


def test_plain_model_has_no_labels(plain_file):
    model = TFLiteModel(plain_file)
    assert model.metadata["task"] == "model"
    with pytest.raises(AttributeError, match="holds no labels: it is no classifier's"):
        _ = model.classes_


def test_benchmark(table_file, plain_file):
    table, _ = mixed_table()
    report = benchmark(table_file, n_runs=20, rows=table, n_threads=2)
    assert isinstance(report, LatencyReport)
    latency = report.latency_ms
    assert 0 < latency.p10 <= latency.median <= latency.p90 <= latency.p99
    assert report.size_bytes == table_file.stat().st_size
    assert report.ops_ms is None
    assert (report.n_runs, report.n_threads) == (20, 2)
    assert report.load_ms > 0
    assert report.memory_mib is None or report.memory_mib >= 0
    assert benchmark(TFLiteModel(plain_file), n_runs=5).latency_ms.median > 0
    with pytest.raises(ValueError, match="n_runs must be at least 1, got 0"):
        benchmark(table_file, n_runs=0)
