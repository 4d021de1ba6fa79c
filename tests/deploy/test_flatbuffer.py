from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from autokit._backend import tf
from autokit.deploy import flatbuffer
from autokit.deploy.convert import Part, convert, trace
from autokit.deploy.quiet import quiet

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(5, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def parts():
    """A lookup and a scaling, a layer with a variable, and nothing at all, converted apart."""
    weights = tf.Variable(WEIGHTS)

    def encode(t):
        known = tf.cast(tf.equal(t["text"], tf.constant([["a", "b", "é"]])), tf.float32)
        return {"encoded": tf.concat([t["number"] / 3.0, known], axis=1)}

    return [
        Part(encode, {"number": ((2,), "float32"), "text": ((1,), "string")}, []),
        Part(
            lambda t: {"network": tf.nn.relu(t["encoded"] @ weights)},
            {"encoded": ((5,), "float32")},
            [weights],
        ),
        Part(lambda t: {"output": t["network"] * 2.0 + 1.0}, {"network": ((4,), "float32")}, []),
    ]


@pytest.fixture(scope="module")
def converted(parts):
    return [convert(trace(part), part.variables) for part in parts]


def _run(data: bytes, **tensors):
    with quiet():
        return Interpreter(model_content=data).get_signature_runner("serve")(**tensors)


def _rows(n):
    texts = np.array([["a"], ["é"], ["none"]] * n, object)[:n]
    return {"number": RNG.normal(size=(n, 2)).astype(np.float32), "text": texts}


def test_join_chains_graphs_of_any_batch_size(parts, converted):
    joined = flatbuffer.join(converted)
    for n in (1, 3):
        rows = _rows(n)
        expected = rows
        for part in parts:
            expected = part.call({name: tf.constant(value) for name, value in expected.items()})
        got = _run(joined, **rows)
        np.testing.assert_allclose(got["output"], expected["output"], rtol=1e-6)
    (serve,) = flatbuffer.signatures_of(flatbuffer.parse(joined)).values()
    inputs = sorted(serve["inputs"], key=lambda tensor: tensor["name"])
    assert inputs == [
        {"name": "number", "shape": [None, 2], "dtype": "float32"},
        {"name": "text", "shape": [None, 1], "dtype": "string"},
    ]
    assert serve["outputs"] == [{"name": "output", "shape": [None, 4], "dtype": "float32"}]


def test_slim_is_smaller_and_answers_the_same(converted):
    joined = flatbuffer.join(converted)
    slimmed = flatbuffer.slim(joined)
    assert len(slimmed) < len(joined)
    assert flatbuffer.slim(slimmed) == slimmed
    rows = _rows(3)
    np.testing.assert_array_equal(_run(slimmed, **rows)["output"], _run(joined, **rows)["output"])
    assert flatbuffer.count_operators(slimmed) == flatbuffer.count_operators(joined)


def test_weights_stay_aligned(converted):
    data = flatbuffer.slim(flatbuffer.join(converted))
    position = data.find(np.ascontiguousarray(WEIGHTS.T).tobytes())
    if position < 0:
        position = data.find(WEIGHTS.tobytes())
    assert position > 0 and position % 16 == 0


def test_operators_are_counted(converted):
    assert flatbuffer.count_operators(converted[1]) == {"FULLY_CONNECTED": 1}


def test_an_input_that_nobody_gives_becomes_one_of_the_whole(converted):
    parts = [
        Part(lambda t: {"sum": t["number"] + 1.0}, {"number": ((2,), "float32")}, []),
        Part(
            lambda t: {"output": t["sum"] * t["factor"]},
            {"sum": ((2,), "float32"), "factor": ((2,), "float32")},
            [],
        ),
    ]
    joined = flatbuffer.join([convert(trace(part), part.variables) for part in parts])
    rows, factor = np.float32([[1, 2], [3, 4]]), np.float32([[10, 20], [30, 40]])
    got = _run(joined, number=rows, factor=factor)["output"]
    np.testing.assert_array_equal(got, (rows + 1) * factor)


def test_bundle_keeps_every_graph_and_shares_weights(converted):
    joined = flatbuffer.join(converted)
    apart = {"serve": joined, "again": joined, "network": converted[1]}
    together = flatbuffer.slim(flatbuffer.bundle(apart))
    stored = [WEIGHTS.tobytes(), np.ascontiguousarray(WEIGHTS.T).tobytes()]
    assert sum(together.count(weights) for weights in stored) == 1
    rows = _rows(3)
    with quiet():
        interpreter = Interpreter(model_content=together)
    assert list(interpreter.get_signature_list()) == ["serve", "again", "network"]
    expected = _run(joined, **rows)["output"]
    for name in ("serve", "again"):
        got = interpreter.get_signature_runner(name)(**rows)["output"]
        np.testing.assert_array_equal(got, expected)
    encoded = RNG.normal(size=(2, 5)).astype(np.float32)
    np.testing.assert_allclose(
        interpreter.get_signature_runner("network")(encoded=encoded)["network"],
        np.maximum(encoded @ WEIGHTS, 0),
        rtol=1e-5,
    )
