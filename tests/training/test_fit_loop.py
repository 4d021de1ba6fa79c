"""The fit loop against Keras' own, and what it must survive."""

from __future__ import annotations

import gc
import random
import time

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.training import (
    Batch,
    FitConfig,
    Forward,
    TrainingDiverged,
    class_weights,
    clear_programs,
    fit,
    fit_loop,
    programs,
    restore,
    seeded,
    snapshot,
    split,
)

CLASSIFY = "sparse_categorical_crossentropy"


def mlp(width=8, activation="relu", seed=0, **options):
    with seeded(seed):
        return keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(width, activation=activation, **options),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )


def config(**options):
    return FitConfig(**{"epochs": 4, "loss": CLASSIFY, **options})


@pytest.fixture
def traces(monkeypatch):
    """The number of times the training step was traced."""
    counted = []
    trace = programs.Program._trace_train
    monkeypatch.setattr(
        programs.Program, "_trace_train", lambda *a: (counted.append(1), trace(*a))[1]
    )
    return counted


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.optimizers.Adam(0.05, clipnorm=0.1),
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 6)),
        keras.optimizers.AdamW(0.05),
        keras.optimizers.RMSprop(0.01, global_clipnorm=0.5),
        keras.optimizers.Adagrad(0.1, clipvalue=0.01),
        keras.optimizers.Nadam(0.01, use_ema=True, ema_momentum=0.5),
        keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
        keras.optimizers.Lion(0.01),
    ],
    ids=lambda o: type(o).__name__,
)
def test_full_batch_equals_keras_fit(blobs, optimizer):
    ours, theirs = mlp(), mlp()
    result = fit(ours, blobs, config=config(epochs=6, batch_size=90, optimizer=optimizer))
    theirs.compile(optimizer.__class__.from_config(optimizer.get_config()), CLASSIFY)
    history = theirs.fit(blobs.x, blobs.y, epochs=6, batch_size=90, verbose=0).history
    np.testing.assert_allclose(result.history["loss"], history["loss"], rtol=1e-4)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_constraints_hold_as_in_keras_fit(blobs):
    ours, theirs = (mlp(kernel_constraint=keras.constraints.MaxNorm(0.5)) for _ in range(2))
    fit(ours, blobs, config=config(batch_size=90, learning_rate=0.1))
    theirs.compile(keras.optimizers.Adam(0.1), CLASSIFY)
    theirs.fit(blobs.x, blobs.y, epochs=4, batch_size=90, verbose=0)
    np.testing.assert_allclose(ours.get_weights()[0], theirs.get_weights()[0], rtol=1e-3, atol=1e-5)
    assert np.linalg.norm(ours.get_weights()[0], axis=0).max() < 0.5 + 1e-5


def test_dropped_programs_leave_no_graphs(blobs):
    def graphs():
        clear_programs()
        gc.collect()
        return sum(type(o).__name__ == "FuncGraph" for o in gc.get_objects())

    before = graphs()
    for width in (3, 4, 5):
        fit(mlp(width), blobs, blobs, config=config(epochs=1))
    assert graphs() <= before


def test_last_batch_may_be_short_and_history_is_the_mean_over_rows(blobs):
    frozen = config(epochs=1, batch_size=32, optimizer="sgd", learning_rate=1e-12)
    model = mlp()
    result = fit(model, blobs, blobs, config=frozen)
    p = Forward(model)(blobs.x)
    expected = -np.log(p[np.arange(90), blobs.y]).mean()
    accuracy = (p.argmax(1) == blobs.y).mean()
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(result.history[name], [expected], rtol=1e-4)
    for name in ("accuracy", "val_accuracy"):
        np.testing.assert_allclose(result.history[name], [accuracy], rtol=1e-6)


def test_batch_normalisation_statistics_move_as_in_keras(blobs):
    def build():
        with seeded(0):
            return keras.Sequential(
                [keras.Input((5,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
            )

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ours, theirs = build(), build()
    fit(ours, blobs, config=config(loss=loss, epochs=3, batch_size=90))
    theirs.compile("adam", loss)
    theirs.fit(blobs.x, blobs.y, epochs=3, batch_size=90, verbose=0)
    for a, b in zip(ours.non_trainable_variables, theirs.non_trainable_variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_same_seed_same_weights_other_seed_others(blobs):
    runs = []
    for seed in (1, 1, 2):
        model = mlp(seed=seed)
        fit(model, blobs, config=config(), seed=seed)
        runs.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    assert not np.array_equal(runs[0][0], runs[2][0])


def test_seeded_leaves_the_global_generator_alone():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    mlp(seed=3)
    assert random.random() == expected


def test_second_fit_of_an_architecture_does_not_trace(blobs, traces):
    first, second = mlp(), mlp()
    assert first.layers[0].name != second.layers[0].name
    fit(first, blobs, config=config())
    fit(second, blobs, config=config(learning_rate=0.5, batch_size=7, epochs=1))
    assert len(traces) == 1
    assert not np.array_equal(first.get_weights()[0], second.get_weights()[0])
    fit(mlp(activation="tanh"), blobs, config=config())
    fit(mlp(kernel_regularizer="l2"), blobs, config=config())
    fit(mlp(), blobs, config=config(optimizer="sgd"))
    assert len(traces) == 4


def test_frozen_layers_stay_and_do_not_share_a_program(blobs, traces):
    fit(mlp(), blobs, config=config())
    model = mlp()
    model.layers[0].trainable = False
    before = model.get_weights()
    fit(model, blobs, config=config())
    assert len(traces) == 2
    assert np.array_equal(model.get_weights()[0], before[0])
    assert not np.array_equal(model.get_weights()[2], before[2])


def test_state_outside_the_variables_is_not_shared(blobs):
    """Normalization keeps what adapt() learnt in attributes: its programs must not be reused."""
    losses = []
    for scale in (1.0, 100.0):
        layer = keras.layers.Normalization()
        layer.adapt(blobs.x * scale)
        with seeded(0):
            model = keras.Sequential(
                [keras.Input((5,)), layer, keras.layers.Dense(3, activation="softmax")]
            )
        scaled = Batch((blobs.x * scale).astype("float32"), blobs.y)
        losses.append(fit(model, scaled, config=config()).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_foreign_layers_are_trained_in_place(blobs, traces):
    class Scale(keras.layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight(shape=(), initializer="ones")

        def call(self, x):
            return x * self.factor

    for _ in range(2):
        model = keras.Sequential([mlp(), Scale()])
        model.build((None, 5))
        fit(model, blobs, config=config(loss="sparse_categorical_crossentropy"))
        assert float(model.layers[1].factor.value) != 1.0
    assert len(traces) == 2


def test_optimizer_state_continues(blobs):
    whole, halves = mlp(), mlp()
    options = {"batch_size": 90, "optimizer": keras.optimizers.Adam(0.01)}
    fit(whole, blobs, config=config(epochs=4, **options))
    half = fit(halves, blobs, config=config(epochs=2, **options))
    fit(
        halves,
        blobs,
        config=config(epochs=2, **options),
        optimizer_state=half.optimizer_state,
    )
    for a, b in zip(whole.get_weights(), halves.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_early_stopping_restores_the_best_epoch(blobs):
    train, validation = split(blobs, 0.3, 0, stratify=True)
    model = mlp(width=32)
    noisy = Batch(train.x, np.roll(train.y, 7))
    result = fit(
        model,
        noisy,
        validation,
        config=config(epochs=60, early_stopping=3, learning_rate=0.05, batch_size=8),
    )
    losses = result.history["val_loss"]
    assert result.stopped == "early_stopping"
    assert result.epochs == result.best_epoch + 3 == len(losses)
    assert losses[result.best_epoch - 1] == min(losses)
    p = Forward(model)(validation.x)
    np.testing.assert_allclose(
        -np.log(p[np.arange(len(validation)), validation.y]).mean(), min(losses), rtol=1e-3
    )


def test_divergence_is_an_error_and_leaves_the_model(blobs):
    model = mlp()
    before = model.get_weights()
    with pytest.raises(TrainingDiverged, match="epoch 1, step 2.*'learning_rate'.*clipnorm"):
        fit(model, blobs, config=config(optimizer="sgd", learning_rate=1e30, batch_size=30))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    fit(mlp(), blobs, config=config(optimizer="sgd"))  # the program is clean again


def test_deadline_stops_within_an_epoch(blobs):
    many = Batch(np.repeat(blobs.x, 4000, axis=0), np.repeat(blobs.y, 4000))
    fit(mlp(), blobs, config=config())  # traced before the clock starts
    started = time.monotonic()
    result = fit(mlp(), many, config=config(epochs=50, batch_size=4), deadline=started + 0.5)
    assert result.stopped == "deadline"
    assert result.epochs == 1
    assert np.isfinite(result.history["loss"][0])


def test_a_deadline_does_not_change_what_is_computed(blobs):
    plain, sliced = mlp(), mlp()
    fit(plain, blobs, config=config(batch_size=8))
    fit(sliced, blobs, config=config(batch_size=8), deadline=time.monotonic() + 60)
    for a, b in zip(plain.get_weights(), sliced.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_data_larger_than_the_device_limit_comes_in_chunks(blobs, monkeypatch):
    whole, chunked = mlp(), mlp()
    fit(whole, blobs, config=config(batch_size=9))
    monkeypatch.setattr(fit_loop, "DEVICE_BYTES", 1)
    monkeypatch.setattr("autokit.training.batches.DEVICE_BYTES", 20 * 18)
    fit(chunked, blobs, config=config(batch_size=9))
    for a, b in zip(whole.get_weights(), chunked.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_schedule_sets_the_rate_each_epoch(blobs):
    class Rates(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.rates = []

        def on_epoch_begin(self, epoch, logs=None):
            self.rates.append(float(self.model.optimizer.learning_rate))

    rates = Rates()
    fit(mlp(), blobs, config=config(learning_rate=0.1, schedule="cosine"), callbacks=[rates])
    expected = [0.1 * 0.5 * (1 + np.cos(np.pi * e / 4)) for e in range(4)]
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-5)


def test_an_optimizers_own_schedule_stays(blobs):
    falling = keras.optimizers.schedules.CosineDecay(0.05, 6)
    alone, both = mlp(), mlp()
    fit(alone, blobs, config=config(learning_rate=falling))
    fit(both, blobs, config=config(learning_rate=falling, schedule="cosine"))
    for a, b in zip(alone.get_weights(), both.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_keras_callbacks_see_what_model_fit_shows_them(blobs):
    class Diary(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.calls = []

        def on_train_begin(self, logs=None):
            self.calls.append("begin")

        def on_train_batch_end(self, batch, logs=None):
            self.calls.append(("batch", batch, sorted(logs)))

        def on_epoch_end(self, epoch, logs=None):
            self.calls.append(("epoch", epoch, sorted(logs)))

        def on_train_end(self, logs=None):
            self.calls.append("end")

    ours, theirs = Diary(), Diary()
    fit(mlp(), blobs, config=config(epochs=2, batch_size=40), callbacks=[ours])
    model = mlp()
    model.compile("adam", CLASSIFY, metrics=["accuracy"])
    model.fit(blobs.x, blobs.y, epochs=2, batch_size=40, verbose=0, callbacks=[theirs])
    assert ours.calls == theirs.calls


def test_stock_callbacks_work(blobs, tmp_path):
    stop = keras.callbacks.EarlyStopping(monitor="loss", min_delta=100, patience=2)
    result = fit(
        mlp(),
        blobs,
        blobs,
        config=config(epochs=9),
        callbacks=[
            keras.callbacks.TensorBoard(tmp_path / "logs"),
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
            keras.callbacks.ReduceLROnPlateau(
                monitor="loss", min_delta=100, patience=1, factor=0.5
            ),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            stop,
        ],
    )
    assert (result.stopped, result.epochs) == ("callback", 3)
    assert list((tmp_path / "logs" / "train").glob("events*"))
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "epoch,accuracy,learning_rate,loss,val_accuracy,val_loss"
    assert ",0.0005" in rows[3]
    reloaded = keras.models.load_model(tmp_path / "best.keras")
    assert reloaded.output_shape == (None, 3)


def test_on_epoch_stops(blobs):
    seen = []
    result = fit(
        mlp(), blobs, config=config(), on_epoch=lambda e, logs: (seen.append(e), e == 2)[1]
    )
    assert (seen, result.stopped, result.epochs) == ([1, 2], "callback", 2)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_learns(blobs, policy):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(16, activation="relu", dtype=policy),
            keras.layers.Dense(3, activation="softmax", dtype="float32"),
        ]
    )
    plain = mlp(width=16)
    result = fit(model, blobs, config=config(epochs=30, learning_rate=0.02))
    reference = fit(plain, blobs, config=config(epochs=30, learning_rate=0.02))
    assert result.history["accuracy"][-1] > 0.9
    # the reported loss is the true one, not the scaled
    assert result.history["loss"][0] < 3 * reference.history["loss"][0] + 1


def test_class_weights_balance(blobs):
    codes = np.array([0, 0, 0, 1])
    classes = np.array(["a", "b"])
    np.testing.assert_allclose(
        class_weights("balanced", codes, classes), [2 / 3, 2 / 3, 2 / 3, 2.0], rtol=1e-6
    )
    np.testing.assert_allclose(class_weights({"a": 3.0}, codes, classes), [3, 3, 3, 1])
    with pytest.raises(ValueError, match="'class_weight' parameter names the class 'z'"):
        class_weights({"z": 1.0}, codes, classes)


def test_weighted_rows_equal_keras(blobs):
    weight = np.linspace(0.1, 2, 90).astype("float32")
    ours, theirs = mlp(), mlp()
    fit(ours, Batch(blobs.x, blobs.y, weight), config=config(batch_size=90, optimizer="sgd"))
    theirs.compile("sgd", CLASSIFY)
    theirs.fit(blobs.x, blobs.y, sample_weight=weight, epochs=4, batch_size=90, verbose=0)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_split_keeps_class_shares_and_falls_back():
    y = np.repeat([0, 1], [80, 20])
    data = Batch(np.arange(100.0)[:, None], y)
    train, validation = split(data, 0.25, 0, stratify=True)
    assert np.bincount(validation.y).tolist() == [20, 5]
    assert sorted([*train.x[:, 0], *validation.x[:, 0]]) == list(range(100))
    rare = Batch(np.zeros((10, 1)), np.array([0] * 9 + [1]))
    assert len(split(rare, 0.2, 0, stratify=True)[1]) == 2


def test_snapshot_round_trip_and_foreign_state(blobs):
    model = mlp()
    state = snapshot(model)
    fit(model, blobs, config=config())
    restore(model, state)
    np.testing.assert_array_equal(model.get_weights()[0], state.params[0])
    with pytest.raises(ValueError, match="'state' belongs to another model"):
        restore(mlp(width=9), state)


def test_forward_answers_any_number_of_rows_alike(blobs):
    forward = Forward(mlp())
    many = np.concatenate([blobs.x] * 30)
    together = forward(many)
    assert together.shape == (2700, 3)
    np.testing.assert_allclose(forward(many[:1]), together[:1], rtol=1e-5)
    np.testing.assert_array_equal(forward(many[5:25]), together[5:25])
    assert forward._compiled.structured_input_signature is not None
    assert tf.executing_eagerly()
