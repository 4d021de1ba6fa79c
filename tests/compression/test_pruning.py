"""Pruning: exactly as sparse as asked, in every kind of layer, and for good."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import autokit
from autokit import KerasClassifier
from autokit._backend import keras, tf
from autokit.compression import CompressionWarning, Prune, cluster, prune, tfmot
from autokit.compression import pruning as pruning_module
from autokit.training import seeded

L = keras.layers
rng = np.random.default_rng(0)
schedules = tfmot._load()


def sequential(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def attention():
    inputs = keras.Input((5, 12))
    x = L.MultiHeadAttention(4, 12)(inputs, inputs)
    x = L.EinsumDense("abc,cd->abd", (5, 48), bias_axes="d")(x)
    return keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling1D()(x)))


MODELS = {
    "dense": lambda: sequential((40,), L.Dense(50, "relu"), L.Dense(2)),
    "conv": lambda: sequential(
        (6, 6, 8), L.Conv2D(24, 3), L.Conv2DTranspose(12, 3), L.SeparableConv2D(48, 2),
        L.GlobalAveragePooling2D(), L.Dense(2),
    ),
    "conv1d": lambda: sequential((9, 8), L.Conv1D(24, 3), L.Flatten(), L.Dense(2)),
    "lstm": lambda: sequential((5, 12), L.LSTM(16), L.Dense(2)),
    "gru": lambda: sequential((5, 12), L.Bidirectional(L.GRU(16)), L.Dense(2)),
    "attention": attention,
}  # fmt: skip
KERNELS = {"dense": 1, "conv": 3, "conv1d": 1, "lstm": 2, "gru": 4, "attention": 5}


def rows_for(model, n=48):
    x = rng.normal(size=(n, *model.input_shape[1:])).astype("float32")
    return x, rng.normal(size=(n, 2)).astype("float32")


def sparsities(model, at_least=500):
    big = [v for v in model.trainable_variables if v.value.numpy().size >= at_least]
    return [float(np.mean(v.value.numpy() == 0)) for v in big]


@pytest.mark.parametrize("kind", MODELS)
def test_every_kernel_is_as_sparse_as_asked_and_stays_so(kind):
    model = MODELS[kind]()
    x, y = rows_for(model)
    # 3 epochs of 3 steps: the ramp ends at a step that is no multiple of much
    sparse = prune(model, x, y, sparsity=0.75, epochs=3, batch_size=16, random_state=0)
    got = sparsities(sparse)
    assert len(got) == KERNELS[kind]
    np.testing.assert_allclose(got, 0.75, atol=1e-3)
    assert sparsities(model) == [0.0] * KERNELS[kind]
    zeros = [v.value.numpy() == 0 for v in sparse.trainable_variables]
    sparse.compile("adam", "mse")
    sparse.fit(x, y, epochs=2, verbose=0)
    for variable, former in zip(sparse.trainable_variables, zeros, strict=True):
        if former.size >= 500:
            np.testing.assert_array_equal(variable.value.numpy() == 0, former)


@pytest.fixture
def enforced(monkeypatch):
    """Fails a pruning whose training fell short, so that its exactness is the graph's own."""
    original = pruning_module.enforce

    def check(model, kernels, sparsity, pattern):
        for k in kernels:
            zeros = np.count_nonzero(model.variables[k.place].value.numpy() == 0)
            assert zeros == pattern.zeros_of(k, sparsity), k.path
        original(model, kernels, sparsity, pattern)

    monkeypatch.setattr(pruning_module, "enforce", check)


@pytest.mark.parametrize(
    "schedule",
    [
        "polynomial",
        "constant",
        # 7 is no multiple of 4: the last update has to be forced
        schedules.PolynomialDecay(0.1, 0.6, 1, 7, frequency=4),
        schedules.ConstantSparsity(0.6, 2, frequency=5),
    ],
)
def test_training_itself_reaches_the_target(schedule, enforced):
    model = MODELS["dense"]()
    x, y = rows_for(model)
    sparse = prune(model, x, y, sparsity=0.6, schedule=schedule, epochs=4, batch_size=16)
    np.testing.assert_allclose(sparsities(sparse), 0.6, atol=1e-3)
    assert sparse.compression_report_.details["sparsity"] == pytest.approx(0.6)


@pytest.mark.parametrize("kind", ["dense", "conv", "attention"])
def test_without_training_the_smallest_weights_go(kind):
    model = MODELS[kind]()
    x, y = rows_for(model)
    sparse = prune(model, x, y, sparsity=0.9, epochs=0)
    np.testing.assert_allclose(sparsities(sparse), 0.9, atol=1e-3)
    for before, after in zip(model.trainable_variables, sparse.trainable_variables, strict=True):
        was, now = np.abs(before.value.numpy()), after.value.numpy()
        if was.size >= 500:
            assert was[now == 0].max() <= was[now != 0].min()


def test_mixed_precision_prunes_exactly(enforced):
    with_policy = {"dtype": "mixed_float16"}
    model = sequential(
        (6, 6, 8), L.Conv2D(24, 3, **with_policy), L.Flatten(), L.Dense(2, **with_policy)
    )
    x, y = rows_for(model)
    sparse = prune(model, x, y, sparsity=0.8, epochs=4, batch_size=8)
    assert sparse.layers[0].compute_dtype == "float16"
    np.testing.assert_allclose(sparsities(sparse), 0.8, atol=1e-3)


def blocks_of(kernel, shape, in_axis):
    """Blocks as rows: kernel moved to (positions, in, out) by hand."""
    k = np.moveaxis(kernel, in_axis, -2) if in_axis != -2 else kernel
    k = k.reshape(-1, *k.shape[-2:])
    p, i, o = k.shape
    k = k.reshape(p, i // shape[0], shape[0], o // shape[1], shape[1])
    return k.transpose(0, 1, 3, 2, 4).reshape(-1, shape[0] * shape[1])


@pytest.mark.parametrize("shape", [(4, 1), (2, 4), (8, 1)])
@pytest.mark.parametrize(
    "layer", [L.Dense(32), L.Conv2D(32, 3), L.Conv2DTranspose(32, 3), L.Conv1D(32, 3)]
)
def test_blocks_are_whole(layer, shape, enforced):
    rank = {"Dense": 0, "Conv1D": 1}.get(type(layer).__name__, 2)
    layer = type(layer).from_config(layer.get_config() | {"name": "pruned"})
    model = sequential((*([6] * rank), 16), layer, *([L.Flatten()] if rank else []), L.Dense(2))
    x, y = rows_for(model)
    options = {"block_size": shape, "layers": lambda layer: layer.name == "pruned"}
    sparse = prune(model, x, y, sparsity=0.75, epochs=2, batch_size=16, **options)
    kernel = sparse.layers[0].kernel.numpy()
    if isinstance(layer, L.Conv2DTranspose):
        kernel = np.swapaxes(kernel, -1, -2)
    zero = blocks_of(kernel, shape, -2) == 0
    assert (zero.all(axis=1) | ~zero.any(axis=1)).all()
    assert zero.mean() == pytest.approx(0.75, abs=0.5 / len(zero))


def test_two_of_four_along_the_inputs(enforced):
    inputs = keras.Input((6, 6, 10))
    x = L.Conv2D(16, 3)(inputs)
    x = L.Reshape((16, 16))(x)
    x = L.EinsumDense("abc,cde->abde", (16, 4, 10))(x)
    x = L.EinsumDense("abde,def->abf", (16, 16))(x)
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(x)))
    rows, y = rows_for(model)
    sparse = prune(model, rows, y, m_by_n=(2, 4), epochs=3, batch_size=16)
    conv, first, second = (sparse.layers[i].kernel.numpy() for i in (1, 3, 4))
    # 10 inputs: two whole groups and one of two, which may keep both
    groups = np.count_nonzero(conv[:, :, :8].reshape(9, 2, 4, 16), axis=2)
    assert (groups == 2).all()
    assert (np.count_nonzero(first.reshape(4, 4, 40), axis=1) == 2).all()
    assert (np.count_nonzero(second.reshape(10, 4, 16), axis=1) == 2).all()
    assert sparse.compression_report_.details["sparsity"] == 0.5


def test_depthwise_tiny_norms_and_embeddings_are_left_alone():
    inputs = keras.Input((8,), dtype="int32")
    x = L.Embedding(64, 32)(inputs)
    x = L.Reshape((4, 2, 32))(x)
    x = L.DepthwiseConv2D(3, padding="same", depth_multiplier=4)(x)
    x = L.BatchNormalization()(x)
    x = L.Conv2D(32, 1)(x)
    model = keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling2D()(x)))
    X, y = rng.integers(0, 64, (32, 8)), rng.normal(size=(32, 2))
    sparse = prune(model, X, y, epochs=1)
    report = sparse.compression_report_
    assert [p for p, s in report.sparsity.items() if s] == report.details["kernels"]
    assert len(report.details["kernels"]) == 1
    reasons = " ".join(report.details["left_alone"].values())
    assert "DepthwiseConv2D" in reasons and "Embedding" in reasons and "fewer than 500" in reasons
    asked = prune(model, X, y, epochs=1, layers=lambda layer: isinstance(layer, L.DepthwiseConv2D))
    report = asked.compression_report_
    assert [p for p, s in report.sparsity.items() if s] == report.details["kernels"]


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def dense(digits):
    with seeded(0):  # a model that is given as it is keeps the weights it has
        model = autokit.layers.mlp((64,), 10, widths=(32,))
    return KerasClassifier(model, epochs=8, learning_rate=0.01, random_state=0).fit(*digits)


def kernel_of(estimator):
    return estimator.model_.layers[1].kernel.numpy()


def test_an_estimator_keeps_its_zeros_through_files_and_further_fits(digits, dense, tmp_path):
    X, y = digits
    before = kernel_of(dense).copy()
    sparse = prune(dense, X, y, sparsity=0.8, epochs=6)
    assert type(sparse) is KerasClassifier and not hasattr(dense, "compression_report_")
    np.testing.assert_array_equal(kernel_of(dense), before)
    zeros = kernel_of(sparse) == 0
    assert zeros.mean() == pytest.approx(0.8, abs=1e-3)
    assert sparse.score(X, y) > dense.score(X, y) - 0.04
    report = sparse.compression_report_
    assert report.zipped_bytes_after < 0.5 * report.zipped_bytes_before
    assert report.size_bytes_after == report.size_bytes_before
    autokit.save(sparse, tmp_path / "sparse.autokit")
    loaded = autokit.load(tmp_path / "sparse.autokit")
    former = kernel_of(loaded).copy()
    loaded.partial_fit(X, y)
    np.testing.assert_array_equal(kernel_of(loaded) == 0, zeros)
    assert (kernel_of(loaded)[~zeros] != former[~zeros]).mean() > 0.5
    thinner = prune(loaded, X, y, sparsity=0.9, epochs=2)
    assert (kernel_of(thinner) == 0)[zeros].all()
    assert (kernel_of(thinner) == 0).mean() == pytest.approx(0.9, abs=1e-3)
    assert [r.method for r in thinner.compression_report_.path] == ["Prune"]


def test_auto_finds_the_highest_sparsity_and_tells_its_path(digits, dense):
    drop = 0.05
    sparse = prune(
        dense,
        *digits,
        sparsity="auto",
        max_score_drop=drop,
        epochs=4,
        learning_rate=0.003,  # at the estimator's 0.01 scores differ by points from seed to seed
        random_state=0,
    )
    details = sparse.compression_report_.details
    path = details["path"]
    assert 2 <= len(path) <= 4 and all(set(s) == {"sparsity", "score", "kept"} for s in path)
    assert details["sparsity"] == pytest.approx(max(s["sparsity"] for s in path if s["kept"]))
    assert sparse.compression_report_.score_drop <= drop
    assert (kernel_of(sparse) == 0).mean() == pytest.approx(details["sparsity"], abs=1e-3)


def test_auto_that_finds_nothing_warns_and_gives_the_least(digits, dense, monkeypatch):
    monkeypatch.setattr(pruning_module, "LADDER", (0.97, 0.99))
    with pytest.warns(CompressionWarning, match="more than max_score_drop=0"):
        sparse = prune(dense, *digits, sparsity="auto", max_score_drop=0, epochs=0)
    assert sparse.compression_report_.details["sparsity"] == pytest.approx(0.97)


def test_it_is_a_training_option_that_can_be_searched(digits):
    X, y = digits
    network = KerasClassifier(
        autokit.layers.mlp((64,), 10, widths=(32,)), epochs=4, learning_rate=0.01, random_state=0,
        compression=Prune(epochs=2),
    )  # fmt: skip
    pipeline = make_pipeline(StandardScaler(), network)
    name = "kerasclassifier__compression__sparsity"
    search = GridSearchCV(pipeline, {name: [0.5, 0.99]}, cv=2).fit(X[:600], y[:600])
    assert search.best_params_ == {name: 0.5}
    fitted = search.best_estimator_[-1]
    assert (kernel_of(fitted) == 0).mean() == pytest.approx(0.5, abs=1e-3)
    assert clone(network).compression.epochs == 2 and not hasattr(network, "compression_report_")


def test_shared_weights_can_be_pruned_exactly(digits, dense):
    few = cluster(dense, *digits, n_clusters=4, epochs=0)
    assert len(np.unique(kernel_of(few))) == 4
    sparse = prune(few, *digits, sparsity=0.8, epochs=0)
    assert (kernel_of(sparse) == 0).mean() == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sparsity": 1.0}, "The 'sparsity' parameter of Prune must be"),
        ({"sparsity": -0.1}, "The 'sparsity' parameter of Prune must be"),
        ({"schedule": "linear"}, "The 'schedule' parameter of Prune must be"),
        ({"schedule": keras.losses.MeanSquaredError()}, "schedule must be 'polynomial'"),
        ({"block_size": (0, 1)}, "block_size must be two positive ints; got (0, 1)"),
        ({"block_size": (5, 1)}, "block_size=(5, 1) does not divide its 64 inputs"),
        (
            {"block_size": (5, 1), "layers": lambda layer: layer.name == "outputs"},
            "layers chose outputs/kernel of shape (32, 10): block_size=(5, 1) does not divide",
        ),
        ({"m_by_n": (4, 2)}, "m_by_n must be (m, n) with m < n"),
        ({"m_by_n": (2, 4), "block_size": (4, 1)}, "block_size must be (1, 1) with m_by_n"),
        ({"layers": lambda layer: False}, "layers chose no layer with a trainable kernel"),
        ({"layers": "conv"}, "The 'layers' parameter of Prune must be"),
        (
            {"schedule": schedules.PolynomialDecay(0.0, 0.5, 0, 10**4)},
            "schedule goes on to step 10000, but training has only",
        ),
        (
            {"sparsity": "auto", "schedule": schedules.ConstantSparsity(0.5, 0)},
            "with sparsity='auto'",
        ),
    ],
)
def test_bad_parameters_are_named(digits, dense, parameters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        prune(dense, *digits, **({"epochs": 2} | parameters))


def test_an_unfitted_estimator_and_a_network_without_kernels(digits):
    with pytest.raises(NotFittedError, match="not fitted yet; call fit before Prune"):
        prune(KerasClassifier(), *digits)
    model = sequential((3,), L.Dense(2))
    with pytest.raises(ValueError, match="finds no kernel .*fewer than 500 numbers.*lambda"):
        prune(model, *rows_for(model))


def test_a_missing_part_of_tfmot_is_told(monkeypatch):
    tfmot._load.cache_clear()
    monkeypatch.setattr(tfmot, "_CORE", "tensorflow_model_optimization.nowhere")
    with pytest.raises(ImportError, match="install tensorflow-model-optimization==0.8.1"):
        tfmot._load()
    monkeypatch.undo()
    tfmot._load()
    assert tf.keras.__version__.startswith("3.")
