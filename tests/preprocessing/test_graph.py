"""The graph side against the NumPy side, in TensorFlow and in LiteRT."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from autokit.preprocessing import ArrayEncoder, RawRows, RegressionTarget, TableEncoder

rng = np.random.default_rng(0)
N = 40
NUMBERS = rng.normal([1e6, 2020, 0.001], [10, 5, 1e-4], (N, 3))
HOLES = np.where(rng.random((N, 3)) < 0.2, np.nan, NUMBERS)
FRAME = pd.DataFrame(
    {
        "city": rng.choice(["Oslo", "Zürich", None], N),
        "year": HOLES[:, 1],
        "grade": pd.Categorical(rng.choice([1, 2, 3], N)),
    }
)
CASES = {
    "numbers": (TableEncoder(), NUMBERS),
    "holes": (TableEncoder(), HOLES),
    "unscaled holes": (TableEncoder(standardize=False), HOLES),
    "frame": (TableEncoder(max_categories=2), FRAME),
    "categories": (TableEncoder(), FRAME[["city", "grade"]]),
    "images": (ArrayEncoder(), rng.integers(0, 256, (N, 6, 5, 3)).astype(np.uint8)),
    "square": (ArrayEncoder(), rng.normal(size=(N, 6, 6))),
    "unscaled": (ArrayEncoder(standardize=False), rng.normal(size=(N, 6, 5))),
}


def convert(encoder):
    from autokit._backend import tf

    specs = [
        tf.TensorSpec((None, *shape), dtype, name=name)
        for name, (shape, dtype) in encoder.raw_specs().items()
    ]

    class Graph(tf.Module):
        @tf.function(input_signature=specs, autograph=False)
        def __call__(self, *tensors):
            return encoder.graph(dict(zip(encoder.raw_specs(), tensors, strict=True)))

    graph = Graph()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [graph.__call__.get_concrete_function()], graph
    )
    return converter.convert()


@pytest.mark.parametrize("case", CASES)
def test_graph_equals_numpy(case):
    from autokit._backend import tf

    encoder, X = CASES[case]
    encoder.fit(X)
    tensors = encoder.raw_tensors(X)
    assert {k: (v.shape[1:], v.dtype) for k, v in tensors.items()} == {
        k: (shape, np.dtype(object if dtype == "string" else dtype))
        for k, (shape, dtype) in encoder.raw_specs().items()
    }
    encoded = encoder.graph({name: tf.constant(value) for name, value in tensors.items()})
    assert encoded.shape[1:] == encoder.encoded_shape_
    # The raw file takes float32: a column of mean 1e6 and spread 10 loses 1e6 * 6e-8 / 10.
    np.testing.assert_allclose(encoded.numpy(), encoder.encode(X), rtol=1e-5, atol=7e-3)
    if case not in ("numbers", "holes", "unscaled holes"):
        np.testing.assert_allclose(encoded.numpy(), encoder.encode(X), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("case", ["holes", "frame", "images"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_graph_in_litert(case):
    from ai_edge_litert.interpreter import Interpreter

    from autokit._backend import tf

    encoder, X = CASES[case]
    encoder.fit(X)
    interpreter = Interpreter(model_content=convert(encoder))
    assert not any(op["op_name"].startswith("Flex") for op in interpreter._get_ops_details())
    runner = interpreter.get_signature_runner()
    (output,) = runner.get_output_details()
    for rows in (X[:1], X):  # the batch is dynamic
        tensors = encoder.raw_tensors(rows)
        expected = encoder.graph({name: tf.constant(value) for name, value in tensors.items()})
        np.testing.assert_allclose(runner(**tensors)[output], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_raw_rows_from_json(case):
    encoder, X = CASES[case]
    encoder.fit(X)
    raw_rows = RawRows(json.loads(json.dumps(encoder.describe())))
    assert raw_rows.specs() == encoder.raw_specs()
    tensors = raw_rows.tensors(X)
    for name, expected in encoder.raw_tensors(X).items():
        if expected.dtype == object:
            assert tensors[name].tolist() == expected.tolist()
        else:
            np.testing.assert_array_equal(tensors[name], expected)


def test_raw_rows_refuse_other_columns():
    raw_rows = RawRows(TableEncoder().fit(FRAME).describe())
    with pytest.raises(ValueError, match="now missing:\n- year\n"):
        raw_rows.tensors(FRAME.drop(columns="year"))
    with pytest.raises(ValueError, match="X has 2 features, but the model is expecting 3"):
        raw_rows.tensors(np.eye(2))
    with pytest.raises(ValueError, match="description must be of kind table.*got 'video'"):
        RawRows({"kind": "video"})


def test_regression_target():
    from autokit._backend import tf

    for standardize in (True, False):
        target = RegressionTarget(standardize).fit(NUMBERS)
        encoded = target.encode(NUMBERS)
        decoded = target.graph(tf.constant(encoded))
        np.testing.assert_allclose(decoded.numpy(), target.decode(encoded), rtol=1e-6)


def test_raw_rows_need_numpy_only():
    code = (
        "import sys\n"
        "from autokit.preprocessing import RawRows\n"
        "RawRows({'kind': 'image', 'shape': [1, 1]}).tensors([[[1.0]]])\n"
        "loaded = {'tensorflow', 'keras', 'sklearn', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "import autokit.preprocessing.table\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
