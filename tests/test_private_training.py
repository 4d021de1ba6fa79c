"""KerasClassifier and KerasRegressor within a privacy budget."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import autokit
from autokit import KerasClassifier, KerasRegressor
from autokit._backend import keras
from autokit.compression import Prune
from autokit.privacy import (
    DifferentialPrivacy,
    PrivacyBudgetSpent,
    PrivacyWarning,
    epsilon_spent,
    membership_inference,
)
from autokit.training import Batch, FitConfig, fit, orders, seeded
from autokit.training.private import private_regime

L = keras.layers
RNG = np.random.default_rng(0)
Y = RNG.integers(0, 3, 300)
X = (np.eye(3)[Y] @ RNG.normal(size=(3, 6)) * 2 + RNG.normal(size=(300, 6))).astype("float32")
PRIVACY = DifferentialPrivacy(3.0, 1e-4, level="example", accountant="rdp")
SETTINGS = {"epochs": 6, "batch_size": 60, "optimizer": "sgd", "learning_rate": 1.0}


def tiny(privacy=PRIVACY, kind=KerasClassifier, **changes):
    return kind(privacy=privacy, **(SETTINGS | {"random_state": 0} | changes))


def dense(units=3):
    with seeded(1):
        return keras.Sequential([keras.Input((6,)), L.Dense(units)])


@pytest.fixture
def one_regime():
    """A training of one Dense layer, from the inside."""

    def train(noise=0.0, privacy=None, epochs=1, data=None, seed=0, size=60, rate=0.5):
        privacy = privacy or DifferentialPrivacy(1.0, 1e-5, clip_norm=1e6, level="example")
        regime = private_regime(privacy, noise_multiplier=noise, expected_rows=size, seed=seed)
        model = dense()
        config = FitConfig(
            epochs, size, "sgd", rate, loss=keras.losses.SparseCategoricalCrossentropy(True)
        )
        data = data or Batch(X, Y.astype("int32"))
        return model, fit(model, data, config=config, seed=seed, regime=regime)

    return train


def test_poisson_steps_draw_every_row_alone():
    order = orders.poisson(np.random.default_rng(0), 1000, 50)
    assert order.n_steps == 20 and len(order.rows) == 20 * order.size
    counts = [order.n_rows(i, i + 1) for i in range(20)]
    assert sum(counts) == order.n_rows(0, 20) == (order.rows >= 0).sum()
    assert 35 < np.mean(counts) < 65 and np.std(counts) > 2
    for step in order.rows.reshape(20, -1):
        chosen = step[step >= 0]
        assert len(set(chosen)) == len(chosen)
    taken = np.bincount(order.rows[order.rows >= 0], minlength=1000)
    # binomial (20, 0.05): a share of 0.358 is never drawn
    assert np.mean(taken == 0) == pytest.approx(0.95**20, abs=0.05)
    everyone = orders.poisson(np.random.default_rng(0), 10, 10)
    assert sorted(everyone.rows) == list(range(10))


def test_poisson_pieces_hold_their_own_rows(monkeypatch):
    monkeypatch.setattr(orders, "DEVICE_BYTES", 800)
    data = Batch(np.arange(300, dtype="float64")[:, None], np.arange(300))
    order = orders.poisson(np.random.default_rng(0), 300, 30)
    pieces = list(order.pieces(data))
    assert len(pieces) > 1
    seen = [piece.y[inner.rows[inner.rows >= 0]] for piece, inner in pieces]
    np.testing.assert_array_equal(np.concatenate(seen), order.rows[order.rows >= 0])
    assert sum(inner.n_steps for _, inner in pieces) == order.n_steps


def test_without_noise_and_bound_it_is_sgd_on_the_same_rows(one_regime):
    model, result = one_regime(epochs=2)
    kernel, bias = (w.astype(float) for w in dense().get_weights())
    rng = np.random.default_rng(0)
    for _ in range(2):
        order = orders.poisson(rng, 300, 60)
        for step in order.rows.reshape(-1, order.size):
            rows = step[step >= 0]
            logits = X[rows] @ kernel + bias
            proba = np.exp(logits - logits.max(axis=1, keepdims=True))
            proba /= proba.sum(axis=1, keepdims=True)
            error = (proba - np.eye(3)[Y[rows]]) / 60
            kernel, bias = kernel - 0.5 * X[rows].T @ error, bias - 0.5 * error.sum(axis=0)
    np.testing.assert_allclose(model.get_weights()[0], kernel, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.get_weights()[1], bias, rtol=1e-4, atol=1e-5)
    assert result.running["step"] == 10


def test_the_noise_is_as_large_as_it_must_be_and_never_the_same(one_regime):
    # rows of zeros move the bias only: the kernel is its own noise
    data = Batch(np.zeros((300, 6), "float32"), Y.astype("int32"))
    privacy = DifferentialPrivacy(1.0, 1e-5, clip_norm=0.5, level="example")
    start, moves = dense().get_weights()[0], []
    for seed in range(30):
        model, _ = one_regime(4.0, privacy, data=data, seed=seed, size=300, rate=1.0)
        moves.append(model.get_weights()[0] - start)
    moves = np.array(moves)
    assert moves.std() == pytest.approx(4.0 * 0.5 / 300, rel=0.1)
    assert abs(moves.mean()) < 0.001
    twice, _ = one_regime(4.0, privacy, data=data, epochs=2, size=300, rate=1.0)
    second = twice.get_weights()[0] - start - moves[0]
    assert abs(np.corrcoef(second.ravel(), moves[0].ravel())[0, 1]) < 0.8
    assert not np.allclose(second, moves[0])


def test_adaptive_clipping_comes_to_the_median(one_regime):
    privacy = DifferentialPrivacy(1.0, 1e-5, clip_norm="adaptive", level="example")
    # a rate of almost 0: the norms stay as they are
    model, result = one_regime(1.0, privacy, epochs=40, size=100, rate=1e-12)
    logits = X @ model.get_weights()[0]
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = np.linalg.norm(proba - np.eye(3)[Y], axis=1)
    norms = error * np.sqrt(1 + (X**2).sum(axis=1))
    assert result.running["clip"] == pytest.approx(np.median(norms), rel=0.15)


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_learns_within_the_budget(accountant):
    privacy = DifferentialPrivacy(3.0, 1e-4, level="example", accountant=accountant)
    model = tiny(privacy).fit(X, Y)
    assert model.score(X, Y) > 0.8
    spent = model.privacy_spent_
    assert 2.99 < spent.epsilon <= 3.0 and spent.delta == 1e-4
    path = model.history_["epsilon"]
    assert len(path) == 6 and path == sorted(path) and path[-1] == spent.epsilon
    steps = {"noise_multiplier": spent.noise_multiplier, "sampling_rate": 0.2}
    assert spent.epsilon == epsilon_spent(privacy, n_steps=30, **steps)
    assert path[2] == pytest.approx(epsilon_spent(privacy, n_steps=15, **steps), rel=0.01)


def test_the_seed_decides_and_none_is_different_each_time():
    a, b = (tiny().fit(X, Y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    a, b = (tiny(random_state=None, model=dense()).fit(X, Y).predict_proba(X) for _ in range(2))
    assert not np.allclose(a, b)


@pytest.mark.parametrize("shape", [(300,), (300, 2)])
def test_regressors(shape):
    targets = X[:, : shape[-1] if len(shape) > 1 else 1].reshape(shape)
    model = tiny(kind=KerasRegressor, learning_rate=0.3).fit(X, targets)
    assert model.score(X, targets) > 0.3
    assert model.privacy_spent_.epsilon <= 3.0


def test_images_with_group_normalization_and_adaptive_clipping():
    images = np.zeros((300, 8, 8, 1), "float32")
    images[np.arange(300), :, 2 * Y] = 1.0

    def build(shape, n_outputs):
        return keras.Sequential(
            [
                keras.Input(shape),
                L.Conv2D(8, 3, 2, activation="tanh"),
                L.GroupNormalization(4),
                L.Flatten(),
                L.LayerNormalization(),
                L.Dense(n_outputs),
            ]
        )

    privacy = DifferentialPrivacy(8.0, 1e-4, clip_norm="adaptive", level="example")
    model = tiny(privacy, model=build, learning_rate=3.0).fit(images, Y)
    assert model.score(images, Y) > 0.9
    assert model.privacy_spent_.clip_norm != 0.1
    assert model.privacy_spent_.epsilon <= 8.0


def test_the_default_network_for_images_has_group_normalization():
    images = RNG.random((40, 8, 8)).astype("float32")
    model = tiny(epochs=1, batch_size=40).fit(images, Y[:40])
    kinds = {type(layer) for layer in model.model_.layers}
    assert L.GroupNormalization in kinds and L.BatchNormalization not in kinds
    assert model.predict(images).shape == (40,)


@keras.saving.register_keras_serializable("tests_private_training")
class Own(L.Layer):
    """A layer that nobody knows."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3))

    def call(self, x):
        return keras.ops.softmax(x @ self.kernel)


@pytest.mark.parametrize(
    "layer", [Own, lambda: L.Dense(3, activation="softmax", dtype="mixed_bfloat16")]
)
def test_any_other_network(layer):
    with seeded(0):
        model = keras.Sequential([keras.Input((6,)), layer()])
    privacy = DifferentialPrivacy(20.0, 1e-4, level="example", accountant="rdp")
    fitted = tiny(privacy, model=model, learning_rate=0.5).fit(X, Y)
    assert fitted.score(X, Y) > 0.8 and fitted.privacy_spent_.epsilon <= 20.0


def test_weights_of_rows_do_not_widen_what_one_row_can_do():
    # a row of huge weight is clipped like all others
    weight = np.ones(300)
    weight[0] = 1e6
    a = tiny().fit(X, Y, weight).predict_proba(X)
    b = tiny().fit(X, Y).predict_proba(X)
    assert np.abs(a - b).max() < 0.2
    assert tiny(class_weight={0: 2.0, 1: 1.0, 2: 1.0}).fit(X, Y).score(X, Y) > 0.7


def test_empty_steps_are_steps():
    model = tiny(batch_size=1, epochs=1).fit(X[:40], Y[:40])
    assert np.isfinite(model.history_["loss"][0])
    assert model.privacy_spent_.ledger.n_steps == 40


def test_early_stopping_spends_what_it_trained():
    model = tiny(epochs=30, early_stopping=1, learning_rate=1e-9).fit(X, Y)
    n_epochs = len(model.history_["loss"])
    assert n_epochs < 30 and model.privacy_spent_.ledger.n_steps == 5 * n_epochs
    assert model.privacy_spent_.epsilon < 3.0


def test_partial_fit_goes_on_until_the_budget_is_spent():
    model = tiny(epochs=3)
    for n in range(3):
        model.partial_fit(X, Y)
        assert model.privacy_spent_.ledger.n_steps == 5 * (n + 1)
    assert 2.9 < model.privacy_spent_.epsilon <= 3.0
    assert len(model.history_["epsilon"]) == 3
    before = model.predict_proba(X)
    with pytest.raises(PrivacyBudgetSpent, match="3 of epsilon = 3 is spent.*epochs=3"):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    with pytest.raises(PrivacyBudgetSpent):
        tiny(epochs=3).fit(X, Y).partial_fit(X, Y)
    model.set_params(privacy=None).partial_fit(X, Y)
    assert not hasattr(model, "privacy_spent_")
    with pytest.raises(ValueError, match="trained without privacy.*call fit"):
        model.set_params(privacy=PRIVACY).partial_fit(X, Y)


def test_fit_again_starts_a_new_budget():
    model = tiny().fit(X, Y)
    first = model.predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), first)
    assert model.privacy_spent_.ledger.n_steps == 30


def test_is_copied_saved_and_loaded(tmp_path):
    model = tiny()
    assert clone(model).privacy == PRIVACY
    model.fit(X, Y)
    for other in (pickle.loads(pickle.dumps(model)), _reloaded(model, tmp_path)):
        assert other.privacy == PRIVACY
        assert other.privacy_spent_ == model.privacy_spent_
        np.testing.assert_allclose(other.predict_proba(X), model.predict_proba(X), atol=1e-6)
        with pytest.raises(PrivacyBudgetSpent):
            other.partial_fit(X, Y)
    assert "level='example'" in repr(model)


def _reloaded(model, folder):
    autokit.save(model, folder / "private.autokit")
    return autokit.load(folder / "private.autokit")


def test_the_attack_finds_less_with_privacy():
    rng = np.random.default_rng(1)
    rows, labels = rng.normal(size=(200, 10)), rng.integers(0, 2, 200)
    halves = rows[:100], labels[:100], rows[100:], labels[100:]
    settings = {"epochs": 150, "batch_size": 50, "optimizer": "adam", "learning_rate": 0.01}
    by_heart = tiny(None, **settings).fit(*halves[:2])
    private = tiny(
        DifferentialPrivacy(1.0, 1e-4, level="example", accountant="rdp"), **settings
    ).fit(*halves[:2])
    open_, hidden = (membership_inference(m, *halves) for m in (by_heart, private))
    assert open_.advantage > 0.6
    assert hidden.advantage < open_.advantage - 0.3
    # what epsilon = 1 allows at the most, and what 100 rows a side leave to chance
    assert hidden.advantage < np.tanh(0.5) + 3 * hidden.standard_error


def batch_normalised(shape, n_outputs):
    return keras.Sequential(
        [keras.Input(shape), L.Dense(4), L.BatchNormalization(), L.Dense(n_outputs)]
    )


def test_a_frozen_batch_normalization_is_let_through():
    def build(shape, n_outputs):
        model = batch_normalised(shape, n_outputs)
        model.layers[1].trainable = False
        return model

    assert tiny(model=build).fit(X, Y).score(X, Y) > 0.6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": batch_normalised}, "BatchNormalization layer.*GroupNormalization"),
        ({"privacy": DifferentialPrivacy(1.0, 1e-4)}, "level='example'.*FederatedTrainer"),
        ({"compression": Prune(sparsity=0.5)}, "'compression'.*'privacy'.*without noise"),
        ({"class_weight": "balanced"}, "counts the rows of each class.*dict"),
        ({"privacy": 1.0}, "'privacy' parameter"),
        (
            {
                "privacy": DifferentialPrivacy(
                    0.3, 1e-4, clip_norm="adaptive", level="example", accountant="rdp"
                )
            },
            "needs more than .* rows",
        ),
    ],
)
def test_refusals_name_the_cure(changes, words):
    with pytest.raises(ValueError, match=words):
        tiny(**changes).fit(X, Y)


def test_float16_is_refused():
    def build(shape, n_outputs):
        return keras.Sequential(
            [keras.Input(shape), L.Dense(n_outputs, dtype=keras.DTypePolicy("mixed_float16"))]
        )

    with pytest.raises(ValueError, match="float16.*mixed_bfloat16"):
        tiny(model=build).fit(X, Y)


def test_weights_that_round_away_the_noise_are_refused():
    def build(shape, n_outputs):
        return keras.Sequential([keras.Input(shape), L.Dense(n_outputs, dtype="bfloat16")])

    with pytest.raises(ValueError, match="not float32, such as .*mixed_bfloat16"):
        tiny(model=build).fit(X, Y)


class Stopping(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def test_what_a_callback_has_seen_is_spent():
    model = tiny().partial_fit(X, Y)
    steps = model.privacy_spent_.ledger.n_steps
    model.set_params(callbacks=[Stopping()])
    for n_calls in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X, Y)
        assert model.privacy_spent_.ledger.n_steps == n_calls * steps
    model.set_params(callbacks=None).partial_fit(X, Y)
    assert model.privacy_spent_.ledger.n_steps == 4 * steps


def test_a_first_call_that_fails_leaves_nothing():
    model = tiny(callbacks=[Stopping()])
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X, Y)
    assert not hasattr(model, "model_") and not hasattr(model, "privacy_spent_")
    model.set_params(callbacks=None).partial_fit(X, Y)
    assert len(model.history_["epsilon"]) == 1


def test_a_model_that_cannot_be_built_leaves_what_was_spent():
    model = tiny().fit(X, Y)
    spent = model.privacy_spent_
    with pytest.raises(ZeroDivisionError):
        model.set_params(model=lambda shape, n: 1 / 0).fit(X, Y)
    assert model.privacy_spent_ is spent


def test_compression_would_train_without_noise():
    with pytest.raises(ValueError, match="keeps a privacy budget.*quantization='float16'"):
        Prune(sparsity=0.5).compress(tiny().fit(X, Y), X, Y)


def test_a_delta_that_promises_nothing_is_remarked_on():
    with pytest.warns(PrivacyWarning, match="delta = 0.01 is not below one over.*300"):
        tiny(DifferentialPrivacy(3.0, 0.01, level="example", accountant="rdp")).fit(X, Y)
