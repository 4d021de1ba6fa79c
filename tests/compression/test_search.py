"""A network is compressed until its file meets a target, or the search says how near it came."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split

from autokit import KerasClassifier, TFLiteModel, export_tflite, layers
from autokit.compression import TargetNotMet, compress


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), random_state=0)


@pytest.fixture(scope="module")
def classifier(digits):
    X, _, y, _ = digits
    return KerasClassifier(
        lambda shape, n: layers.mlp(shape, n, output_activation="softmax", widths=(64,)),
        epochs=15,
        random_state=0,
    ).fit(X / 16, y)


def test_the_mildest_quantisation_that_serves_is_taken(digits, classifier):
    X, _, y, _ = digits
    seen = []
    small = compress(
        classifier, X / 16, y, max_size_bytes=14_000, random_state=0, progress=seen.append
    )
    report = small.compression_report_
    assert report.details["quantization"] == "float16"
    assert [step.quantization for step in seen] == ["none", "float16"]
    assert [step.meets for step in seen] == [False, True]
    assert small.model_ is classifier.model_
    assert not hasattr(classifier, "compression_report_")


def test_a_smaller_network_is_made_where_quantisation_is_not_enough(tmp_path, digits, classifier):
    X, X_test, y, y_test = digits
    small = compress(
        classifier,
        X / 16,
        y,
        max_size_bytes=5_500,
        max_score_drop=0.05,
        quantizations=["int8"],
        epochs=5,
        random_state=0,
    )
    details = small.compression_report_.details
    assert details["quantization"] == "int8"
    assert small.model_.count_params() < classifier.model_.count_params()
    report = export_tflite(
        small, tmp_path / "small.tflite", quantization="int8", representative_data=X / 16
    )
    assert report.size_bytes <= 5_500
    assert np.mean(TFLiteModel(report.path).predict(X_test / 16) == y_test) > 0.88
    last = details["steps"][-1]
    assert last["meets"] and last["changes"][0].startswith("prune_blocks")
    assert [step["meets"] for step in details["steps"][:-1]] == [False] * (
        len(details["steps"]) - 1
    )


def test_weights_are_zeroed_first_for_a_zipped_size(digits, classifier):
    X, _, y, _ = digits
    small = compress(
        classifier,
        X / 16,
        y,
        max_size_bytes=5_000,
        zipped=True,
        max_score_drop=0.05,
        quantizations=["int8"],
        epochs=5,
        random_state=0,
    )
    last = small.compression_report_.details["steps"][-1]
    assert last["zipped_bytes"] <= 5_000
    assert last["changes"][0].startswith("prune(sparsity=")
    assert small.model_.count_params() == classifier.model_.count_params()


def test_a_plain_model_learns_from_itself_too(digits, classifier):
    X, _, y, _ = digits
    small = compress(
        classifier.model_,
        X.astype("float32") / 16,
        y,
        max_size_bytes=5_500,
        max_score_drop=0.05,
        quantizations=["int8"],
        epochs=5,
        random_state=0,
    )
    report = small.compression_report_
    assert report.details["quantization"] == "int8"
    assert report.path[-1].method == "Distill"
    assert small.count_params() < classifier.model_.count_params()


def test_a_target_that_cannot_be_met(digits, classifier):
    X, _, y, _ = digits
    with pytest.raises(TargetNotMet) as raised:
        compress(
            classifier,
            X / 16,
            y,
            max_size_bytes=1_000,
            max_score_drop=0.0,
            quantizations=["int8"],
            epochs=1,
            max_rounds=1,
            random_state=0,
        )
    message = str(raised.value)
    assert message.startswith("max_size_bytes=1000 cannot be met within max_score_drop=0 of the")
    assert "nearest within it is int8 of" in message or "no file is within it" in message
    assert len(raised.value.path) >= 2


def test_bad_input(digits, classifier):
    X, _, y, _ = digits
    with pytest.raises(ValueError, match="max_size_bytes or max_latency_ms must be given"):
        compress(classifier, X, y)
    with pytest.raises(ValueError, match="max_latency_ms must be positive, got -1"):
        compress(classifier, X, y, max_latency_ms=-1)
    with pytest.raises(ValueError, match="max_score_drop must not be negative"):
        compress(classifier, X, y, max_size_bytes=100, max_score_drop=-0.1)
    with pytest.raises(NotFittedError, match="call fit before compress"):
        compress(KerasClassifier(), X, y, max_size_bytes=100)
