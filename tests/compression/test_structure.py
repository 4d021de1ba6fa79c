"""Channels and blocks go from all layers that know them, and the rest computes the same."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from autokit import KerasClassifier, layers
from autokit._backend import keras
from autokit.compression import PruneBlocks, prune_blocks
from autokit.compression.channels import ChannelGraph
from autokit.compression.surgery import moved, rebuilt, resolved
from autokit.layers import copied
from autokit.training import Held

L = keras.layers


def _residual(inputs, width):
    x = L.Conv2D(width, 3, padding="same", use_bias=False)(inputs)
    x = L.BatchNormalization()(x)
    x = L.Activation("relu")(x)
    x = L.SeparableConv2D(width, 3, padding="same")(x)
    x = L.DepthwiseConv2D(3, padding="same")(x)
    return L.Add()([L.Conv2D(width, 1)(inputs), x])


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = _residual(inputs, 8)
    x = L.MaxPooling2D()(x)
    x = L.Flatten()(x)
    x = L.Dense(10, activation="relu")(x)
    model = keras.Model(inputs, L.Dense(3, activation="softmax")(x))
    rng = np.random.default_rng(0)
    for v in model.variables:
        v.assign(
            np.abs(rng.normal(size=v.shape))
            if "variance" in v.path
            else rng.normal(size=v.shape) * 0.3
        )
    return model


def _silence(model, graph, group, channels):
    """Zero what reads some channels: the oracle for taking them out."""
    silent = rebuilt(resolved(copied(model)), lambda layer, x: None)
    for name, axis in graph.reads.items():
        layer = silent.get_layer(name)
        if axis.group != group or isinstance(layer, L.DepthwiseConv2D | L.BatchNormalization):
            continue
        kernel = layer.pointwise_kernel if hasattr(layer, "pointwise_kernel") else layer.kernel
        value = kernel.numpy()
        for i in range(axis.repeats):
            rows = np.asarray(channels) + i * graph.sizes[group]
            value[(slice(None),) * (value.ndim - 2) + (rows,)] = 0
        kernel.assign(value)
    return silent


def test_groups_of_a_residual_network(network):
    graph = ChannelGraph.of(resolved(copied(network)))
    # inside the branch; what is added up; the hidden dense layer. Not the input, not the classes.
    assert sorted(graph.sizes.values()) == [8, 8, 10]
    first, *_ = [x.name for x in network.layers if type(x) is L.Conv2D]
    projection = [x.name for x in network.layers if type(x) is L.Conv2D][1]
    depthwise = next(x.name for x in network.layers if type(x) is L.DepthwiseConv2D)
    assert graph.writes[projection].group == graph.writes[depthwise].group
    assert graph.writes[first].group != graph.writes[projection].group
    dense = next(x.name for x in network.layers if type(x) is L.Dense)
    assert graph.reads[dense].repeats == 9
    assert graph.n_weights({}) == network.count_params()


def test_without_channels_it_answers_as_if_nobody_read_them(network):
    graph = ChannelGraph.of(resolved(copied(network)))
    rows = np.random.default_rng(1).normal(size=(5, 6, 6, 2)).astype("float32")
    for group, size in graph.sizes.items():
        gone = [0, 3, size - 1]
        kept = np.setdiff1d(np.arange(size), gone)
        narrow = graph.narrowed({group: kept})
        expected = _silence(network, graph, group, gone)(rows)
        np.testing.assert_allclose(narrow(rows), expected, atol=1e-5)
        assert narrow.count_params() == graph.n_weights({group: len(kept)})


def test_saliency_is_the_first_order_change_of_the_loss(network):
    graph = ChannelGraph.of(resolved(copied(network)))
    name = next(n for n, a in graph.reads.items() if a.repeats == 9)
    size = graph.sizes[graph.reads[name].group]
    product = np.random.default_rng(0).normal(size=(9 * size, 10))
    (saliency,) = graph.saliencies({name: [product]}).values()
    by_channel = product.reshape(9, size, 10).sum(axis=(0, 2)) ** 2
    np.testing.assert_allclose(saliency, by_channel / np.linalg.norm(by_channel))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: L.LayerNormalization(),
        lambda: L.Softmax(),
        lambda: L.Activation("softmax"),
        lambda: L.Reshape((4, 2)),
    ],
)
def test_what_an_unknown_layer_touches_stays(layer):
    inputs = keras.Input((5,))
    x = layer()(L.Dense(8)(inputs))
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(x)))
    assert ChannelGraph.of(resolved(copied(model))).sizes == {}


def test_a_layer_called_twice_keeps_one_set_of_channels():
    inputs = keras.Input((6,))
    shared, head = L.Dense(6, activation="relu"), L.Dense(2)
    model = keras.Model(inputs, head(shared(shared(inputs))))
    assert ChannelGraph.of(resolved(copied(model))).sizes == {}  # it reads the network's inputs too
    before = L.Dense(6)(inputs)
    model = keras.Model(inputs, head(shared(shared(before))))
    graph = ChannelGraph.of(resolved(copied(model)))
    assert list(graph.sizes.values()) == [6]
    narrow = graph.narrowed({next(iter(graph.sizes)): np.array([1, 4, 5])})
    assert narrow.count_params() == 6 * 3 + 3 + 3 * 3 + 3 + 3 * 2 + 2
    assert len(resolved(narrow).calls) == 4


def test_what_is_held_moves_with_its_variables(network):
    graph = ChannelGraph.of(resolved(copied(network)))
    group = next(g for g, size in graph.sizes.items() if size == 10)
    place = next(i for i, v in enumerate(network.variables) if v.shape == (72, 10))
    narrow = graph.narrowed({group: np.arange(4)})
    held = moved(Held(zeros=(place,), clusters=(0,)), network, narrow)
    assert narrow.variables[held.zeros[0]].shape == (72, 4)
    assert narrow.variables[held.clusters[0]].path == network.variables[0].path


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X.reshape(-1, 8, 8) / 16, y


def _cnn(shape, n_outputs):
    return layers.cnn(shape, n_outputs, output_activation="softmax", stem_width=8, widths=(8, 16))


def _mlp(shape, n_outputs):
    return layers.mlp(shape, n_outputs, output_activation="softmax", widths=(32, 32))


@pytest.fixture(scope="module")
def classifier(digits):
    return KerasClassifier(_cnn, epochs=5, random_state=0).fit(*digits)


@pytest.fixture(scope="module")
def perceptron(digits):
    return KerasClassifier(_mlp, epochs=10, random_state=0).fit(*digits)


def test_a_share_of_the_weights_goes_and_the_score_stays(digits, perceptron):
    before = perceptron.model_.count_params()
    small = prune_blocks(perceptron, *digits, share=0.5, epochs=3, rounds=2, what="channels")
    assert small.model_.count_params() <= 0.5 * before
    assert perceptron.model_.count_params() == before
    assert small.compression_report_.score_after > 0.9
    assert small.score(*digits) > 0.9
    small.partial_fit(*digits)


def test_a_spare_block_is_removed(digits, classifier):
    # a block whose last scale is nil adds nothing: the identity of a residual network
    spare = KerasClassifier(classifier.model_, epochs=1, learning_rate=1e-9, random_state=0)
    spare.fit(*digits)
    additions = [x for x in spare.model_.layers if type(x) is L.Add]
    norm = next(
        t._keras_history.operation
        for t in additions[-1].input
        if type(t._keras_history.operation) is L.BatchNormalization
    )
    norm.gamma.assign(0 * norm.gamma)
    norm.beta.assign(0 * norm.beta)
    expected = spare.predict_proba(digits[0])
    smaller = prune_blocks(spare, *digits, what="blocks", tolerance=0.0, epochs=0)
    assert additions[-1].name in smaller.compression_report_.details["blocks"]
    assert smaller.model_.count_params() < spare.model_.count_params()
    if len(smaller.compression_report_.details["blocks"]) == 1:
        np.testing.assert_allclose(smaller.predict_proba(digits[0]), expected, atol=1e-5)


def test_automatic_share_keeps_the_score(digits, perceptron):
    small = prune_blocks(
        perceptron, *digits, share="auto", what="channels", epochs=1, max_score_drop=0.05
    )
    report = small.compression_report_
    assert report.score_drop <= 0.05
    assert report.n_weights_after < report.n_weights_before
    assert report.details["rounds"][0]["n_weights"] < report.n_weights_before


def test_as_a_training_option(digits):
    estimator = KerasClassifier(
        _mlp, epochs=1, random_state=0, compression=PruneBlocks(share=0.3, epochs=1, rounds=1)
    ).fit(*digits)
    report = estimator.compression_report_
    assert report.n_weights_after <= 0.7 * report.n_weights_before


def test_a_model_without_a_graph():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="estimator_or_model: the model is a Own whose layers"):
        resolved(Own())
