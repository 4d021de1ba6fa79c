from __future__ import annotations

import numpy as np
import pytest

from autokit import export_tflite
from autokit._backend import keras
from autokit.deploy import ExportError
from autokit.deploy.faults import first_to_part, layer_at


def test_the_layer_whose_error_grows_most_is_the_first_to_part():
    values = np.linspace(0, 1, 40).reshape(20, 2)
    expected = {"a": values, "b": values, "c": values}
    got = {"a": values + 0.01, "b": values + 0.31, "c": values + 0.4}
    index, share = first_to_part(expected, got)
    assert index == 1 and share == pytest.approx(0.31)
    assert first_to_part(expected, expected) is None
    got["c"] = values * np.nan
    assert first_to_part(expected, got) == (2, np.inf)


def test_nodes_belong_to_layers():
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="deep")], name="block")
    model = keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(2, name="top")])
    assert layer_at(model, ["model_1/top_1/MatMul;model_1/top_1/Add"]).name == "top"
    assert layer_at(model, ["StatefulPartitionedCall:0", "model/block_1/deep_1/x"]).name == "block"
    assert layer_at(model, ["somewhere/else"]) is None


def test_a_file_that_disagrees_names_the_layer(tmp_path):
    # one scale for inputs of range 1 and 300: of the first, which decides, nothing is left
    X = np.random.default_rng(0).normal(size=(200, 2)) * [1, 300]
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(4, name="mixing"),
            keras.layers.Dense(2, name="deciding", activation="softmax"),
        ]
    )
    mixing, deciding = model.layers
    mixing.set_weights([np.array([[1, -1, 2, 1], [1e-4] * 4]), np.zeros(4)])
    deciding.set_weights([np.array([[3, -3], [-3, 3], [1, 0], [1, 0]]), np.zeros(2)])
    message = (
        r"the int8 file disagrees with Keras: .* Most of it arises in the layer 'mixing' "
        r"\(Dense\), whose output is off by \d+% of its range\."
    )
    with pytest.raises(ExportError, match=message):
        export_tflite(model, tmp_path / "model.tflite", quantization="int8", representative_data=X)
    assert list(tmp_path.iterdir()) == []
