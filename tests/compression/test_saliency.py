"""Saliencies against brute force and full Hessians, and Optimal Brain Damage on top of them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

from autokit import KerasClassifier, KerasRegressor, layers
from autokit._backend import keras, tf
from autokit.compression import OptimalBrainDamage, prune_optimal_brain_damage
from autokit.compression import saliency as saliency_module
from autokit.compression.kernels import select_kernels
from autokit.compression.saliency import Curvature, deletion_costs, surgeon_costs
from autokit.training import Batch, FitConfig, fit, task_objective
from autokit.training.objectives import TensorBatch

L = keras.layers
MODELS = {
    "dense": lambda: [keras.Input((6,)), L.Dense(5, "tanh"), L.Dense(3, "softmax")],
    "conv": lambda: [
        keras.Input((4, 4, 2)), L.Conv2D(3, 3, activation="tanh"), L.BatchNormalization(),
        L.Dropout(0.5), L.Flatten(), L.Dense(3, "softmax"),
    ],
}  # fmt: skip


def problem(kind, n=200, weighted=False):
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(MODELS[kind]())
    x = rng.normal(size=(n, *model.input_shape[1:])).astype("float32")
    y = (x.reshape(n, -1)[:, :3] + 0.5 * rng.normal(size=(n, 3))).argmax(axis=1).astype("int32")
    weight = rng.uniform(0.5, 2, n).astype("float32") if weighted else None
    loss = keras.losses.SparseCategoricalCrossentropy()
    return model, loss, Batch(x, y, weight), select_kernels(model, lambda layer: True).kernels


def full_hessian(model, loss, data):
    """Every second derivative, by TensorFlow's own Jacobian of the gradient."""
    objective = task_objective(model, loss, training=False)
    shapes = [v.shape for v in model.trainable_variables]
    sizes = [int(np.prod(s)) for s in shapes]
    buffers = [v.value for v in model.non_trainable_variables]
    batch = TensorBatch(*(None if p is None else tf.constant(p) for p in (data.x, data.y)))
    if data.weight is not None:
        batch = batch._replace(weight=tf.constant(data.weight))
    flat = tf.concat([tf.reshape(v.value, [-1]) for v in model.trainable_variables], 0)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(flat)
        with tf.GradientTape() as inner:
            inner.watch(flat)
            parts = [tf.reshape(p, s) for p, s in zip(tf.split(flat, sizes), shapes, strict=True)]
            value = objective(parts, buffers, batch).loss
        gradient = inner.gradient(value, flat)
    hessian = outer.jacobian(gradient, flat, experimental_use_pfor=False).numpy()
    starts = dict(zip(map(id, model.trainable_variables), np.cumsum([0, *sizes]), strict=False))
    return lambda kernel: (lambda at: hessian[at : at + kernel.size, at : at + kernel.size])(
        starts[id(model.variables[kernel.place])]
    )


@pytest.mark.parametrize(("kind", "weighted"), [("dense", False), ("dense", True), ("conv", False)])
def test_exact_second_derivatives_are_the_full_hessians(kind, weighted):
    model, loss, data, kernels = problem(kind, n=300, weighted=weighted)  # two batches
    block_of = full_hessian(model, loss, data)
    curvature = Curvature(model, loss, data, kernels)
    for kernel, diagonal in zip(kernels, curvature.diagonal(), strict=True):
        expected = block_of(kernel)
        np.testing.assert_allclose(diagonal.ravel(), np.diag(expected), atol=1e-6)
    np.testing.assert_allclose(curvature.block(kernels[0]), block_of(kernels[0]), atol=1e-6)


def test_hutchinsons_estimate_converges_to_the_diagonal():
    model, loss, data, kernels = problem("dense")
    exact = np.concatenate([d.ravel() for d in Curvature(model, loss, data, kernels).diagonal()])

    def error(n_probes):
        found = Curvature(model, loss, data, kernels, seed=1).hutchinson(n_probes)
        return np.sqrt(np.mean(np.square(np.concatenate([d.ravel() for d in found]) - exact)))

    errors = [error(n) for n in (20, 2000)]
    # a hundred times the probes, a tenth of the error
    assert errors[1] < 0.2 * errors[0]
    assert errors[1] < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("loss", "n_outputs", "activation"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), 3, None),
        (keras.losses.CategoricalCrossentropy(), 3, "softmax"),
        (keras.losses.BinaryCrossentropy(from_logits=True), 1, None),
        (keras.losses.BinaryCrossentropy(), 2, "sigmoid"),
        (keras.losses.MeanSquaredError(), 2, None),
    ],
)
def test_gauss_newton_of_a_linear_model_is_its_hessian(loss, n_outputs, activation):
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    # with a cross-entropy of its own activation, a linear model has no curvature but the loss's
    model = keras.Sequential([keras.Input((6,)), L.Dense(n_outputs, activation)])
    x = rng.normal(size=(320, 6)).astype("float32")
    y = rng.integers(0, 2, (320, n_outputs)).astype("float32")
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        y = rng.integers(0, 3, 320).astype("int32")
    elif isinstance(loss, keras.losses.CategoricalCrossentropy):
        y = np.eye(3, dtype="float32")[rng.integers(0, 3, 320)]
    kernels = select_kernels(model, lambda layer: True).kernels
    curvature = Curvature(model, loss, Batch(x, y), kernels)
    (exact,), (found,) = curvature.diagonal(), curvature.gauss_newton(100)
    np.testing.assert_allclose(found, exact, rtol=0.25)
    assert found.mean() == pytest.approx(exact.mean(), rel=0.05)


def test_gauss_newton_needs_a_loss_that_it_can_draw_from():
    model, _, data, kernels = problem("dense")
    with pytest.raises(ValueError, match="not a MeanAbsoluteError; use saliency='hutchinson'"):
        Curvature(model, keras.losses.MeanAbsoluteError(), data, kernels).gauss_newton(1)


@pytest.fixture(scope="module")
def at_rest():
    """A small network trained until it rests, so that only curvature is left."""
    model, loss, data, kernels = problem("dense", n=400)
    config = FitConfig(1500, 400, "adam", 0.02, "cosine", loss)
    fit(model, data, config=config)
    return model, loss, data, kernels


def brute_force(model, loss, data, kernel):
    """How the loss rises when each weight alone is deleted."""
    variable = model.variables[kernel.place]
    value = variable.value.numpy()

    def risen():
        return float(loss(data.y, model(data.x, training=False)))

    before, rises = risen(), np.zeros(value.size)
    for i in range(value.size):
        changed = value.ravel().copy()
        changed[i] = 0
        variable.assign(changed.reshape(value.shape))
        rises[i] = risen() - before
    variable.assign(value)
    return rises


def test_saliency_is_the_loss_that_deletion_costs(at_rest):
    model, loss, data, kernels = at_rest
    curvature = Curvature(model, loss, data, kernels)
    exact, fisher = curvature.diagonal(), curvature.gauss_newton(60)
    for kernel, h, g in zip(kernels, exact, fisher, strict=True):
        weights = model.variables[kernel.place].value.numpy()
        rises = brute_force(model, loss, data, kernel)
        predicted = deletion_costs(weights, h).ravel()
        small = np.argsort(rises)[: len(rises) // 3]  # where a parabola is still true
        assert spearmanr(predicted, rises).statistic > 0.85
        assert np.median(np.abs(predicted[small] / rises[small] - 1)) < 0.25
        assert spearmanr(deletion_costs(weights, g).ravel(), rises).statistic > 0.8
        by_size = spearmanr(np.abs(weights).ravel(), rises).statistic
        assert spearmanr(predicted, rises).statistic > by_size - 0.05


def test_the_surgeons_cost_is_the_least_that_adapting_can_reach():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    hessian, w = root @ root.T + np.eye(6), rng.normal(size=6)
    for q, cost in enumerate(surgeon_costs(w, hessian, 1e-9)):
        # minimise d' H d / 2 under w_q + d_q = 0
        others = np.delete(np.arange(6), q)
        best = np.zeros(6)
        best[q] = -w[q]
        best[others] = np.linalg.solve(hessian[np.ix_(others, others)], hessian[others, q] * w[q])
        assert cost == pytest.approx(0.5 * best @ hessian @ best, rel=1e-6)
    diagonal = np.diag(np.diag(hessian))
    np.testing.assert_allclose(
        surgeon_costs(w, diagonal, 1e-12), deletion_costs(w, np.diag(hessian)), rtol=1e-6
    )
    assert np.isfinite(surgeon_costs(w, np.zeros((6, 6)), 0.01)).all()


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def dense(digits):
    network = layers.mlp((64,), 10, widths=(24,))
    return KerasClassifier(network, epochs=8, learning_rate=0.01, random_state=0).fit(*digits)


def kernel_of(estimator):
    return estimator.model_.layers[1].kernel.numpy()


@pytest.mark.parametrize(
    "saliency", ["gauss_newton", "hutchinson", "diagonal", "inverse_hessian", "magnitude", "random"]
)
def test_rounds_end_exactly_and_zeros_stay(digits, dense, saliency):
    sparse = prune_optimal_brain_damage(
        dense, *digits, sparsity=0.8, saliency=saliency, n_rounds=2, epochs=2, n_probes=2, n_rows=64
    )
    zeros = kernel_of(sparse) == 0
    assert zeros.mean() == pytest.approx(0.8, abs=1e-3)
    details = sparse.compression_report_.details
    assert details["left_alone"] == {"outputs/kernel": "fewer than 500 numbers"}
    assert ("predicted_loss_rise" in details) == (saliency not in ("magnitude", "random"))
    sparse.partial_fit(*digits)
    np.testing.assert_array_equal(kernel_of(sparse) == 0, zeros)


def test_curvature_chooses_better_than_size_and_chance(digits, dense):
    X, y = digits
    scores = {
        kind: prune_optimal_brain_damage(
            dense, X, y, sparsity=0.7, saliency=kind, n_rounds=2, epochs=0
        ).score(X, y)
        for kind in ("gauss_newton", "magnitude", "random")
    }
    assert scores["gauss_newton"] > scores["magnitude"] > scores["random"]


def test_a_global_ranking_meets_the_sparsity_over_all_kernels(digits, dense):
    sparse = prune_optimal_brain_damage(
        dense, *digits, sparsity=0.9, scope="global", n_rounds=2, epochs=0,
        layers=lambda layer: True,
    )  # fmt: skip
    kernels = [v.value.numpy() for v in sparse.model_.trainable_variables if len(v.shape) == 2]
    assert np.mean(np.concatenate([k.ravel() for k in kernels]) == 0) == pytest.approx(
        0.9, abs=1e-3
    )
    assert all(k.any() for k in kernels)
    assert abs(np.mean(kernels[0] == 0) - np.mean(kernels[1] == 0)) > 0.01


def test_a_regressor_in_its_own_training():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 20))
    y = X[:, 0] - 2 * X[:, 1]
    network = layers.mlp((20,), 1, widths=(32,))
    model = KerasRegressor(
        network, epochs=15, learning_rate=0.01, random_state=0,
        compression=OptimalBrainDamage(sparsity=0.9, epochs=10, n_rounds=2),
    )  # fmt: skip
    model.fit(X, y)
    kernel = kernel_of(model)
    assert np.mean(kernel == 0) == pytest.approx(0.9, abs=1e-3)
    # inputs that say nothing have lost their weights
    assert np.mean(kernel[:2] == 0) < np.mean(kernel[2:] == 0) - 0.2
    assert model.compression_report_.metric == "R2" and model.score(X, y) > 0.9


def test_bad_parameters_are_named(digits, dense, monkeypatch):
    for parameters, message in (
        ({"sparsity": 0}, "The 'sparsity' parameter of OptimalBrainDamage must be"),
        ({"saliency": "hessian"}, "The 'saliency' parameter of OptimalBrainDamage must be"),
        ({"n_rounds": 0}, "The 'n_rounds' parameter of OptimalBrainDamage must be"),
        ({"layers": lambda layer: False}, "layers chose no layer"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            prune_optimal_brain_damage(dense, *digits, **parameters)
    monkeypatch.setattr(saliency_module, "MAX_DIAGONAL", 100)
    with pytest.raises(ValueError, match="up to 100 numbers; .* has 1536. Use saliency='gauss"):
        prune_optimal_brain_damage(dense, *digits, saliency="diagonal")
