"""Rows of every kind: tables with texts, images, sequences, words and sounds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autokit._backend import keras
from autokit.meta import FewShotLearner

SETTINGS = {"n_way": 2, "k_shot": 2, "n_query": 2, "n_episodes": 4, "random_state": 0}
N_CLASSES, N_ROWS = 8, 6
Y = np.repeat(np.arange(N_CLASSES), N_ROWS)


def check(learner, X, known=5, least=0.0):
    """Fits on the first classes, adapts to the others, and answers rows alone as together."""
    old = Y < known
    take = X.iloc.__getitem__ if hasattr(X, "iloc") else X.__getitem__
    learner.fit(take(np.flatnonzero(old)), Y[old])
    support = [i for k in range(known, N_CLASSES) for i in np.flatnonzero(Y == k)[:3]]
    new = learner.adapt(take(support), Y[support])
    asked = np.setdiff1d(np.flatnonzero(~old), support)
    proba = new.predict_proba(take(asked))
    assert proba.shape == (len(asked), N_CLASSES - known)
    alone = [new.predict_proba(take([i]))[0] for i in asked[:2]]
    np.testing.assert_allclose(alone, proba[:2], atol=1e-5)
    assert new.score(take(asked), Y[asked]) >= least
    return new


def test_tables_with_texts_and_gaps():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": Y + 0.1 * rng.normal(size=len(Y)), "kind": list("abcdabcd"[0] * 48)}
    )
    frame["kind"] = np.array(list("abcdabcd"))[Y]
    frame.loc[3, "size"] = np.nan
    new = check(FewShotLearner(**SETTINGS | {"n_episodes": 100}), frame, known=4, least=0.5)
    assert new.feature_names_in_.tolist() == ["size", "kind"]


@pytest.mark.parametrize(
    ("method", "shape"), [("maml", (9, 8)), ("prototypical", (8, 8, 3)), ("finetune", (5, 4, 1))]
)
def test_images(method, shape):
    rng = np.random.default_rng(0)
    centres = rng.random((N_CLASSES, *shape))
    X = (centres[Y] + 0.1 * rng.random((len(Y), *shape))).astype(np.float32)
    check(FewShotLearner(method, **SETTINGS), X)


def test_digits_turned_are_more_classes():
    rng = np.random.default_rng(0)
    X = rng.random((len(Y), 6, 6)).astype(np.float32)
    settings = SETTINGS | {"n_way": 12, "augment": "rotations"}  # of 5 classes with 4 turns
    check(FewShotLearner(encoder=tiny_flat, **settings), X)


def tiny_flat(shape):
    return keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(4, activation="relu")]
    )


def test_sequences():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_CLASSES, 10, 3))[Y] + 0.1 * rng.normal(size=(len(Y), 10, 3))
    check(FewShotLearner(**SETTINGS), X.astype(np.float32))


def words(shape):
    inputs = keras.Input(shape)
    x = keras.layers.Embedding(20, 6)(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))


def test_texts_as_tokens():
    rng = np.random.default_rng(0)
    # a class says its own two words most of the time
    own = rng.integers(0, 2, (len(Y), 7)) + 2 * Y[:, None]
    X = np.where(rng.random(own.shape) < 0.8, own, rng.integers(0, 20, own.shape))
    settings = SETTINGS | {"n_episodes": 200, "outer_learning_rate": 0.02}
    check(FewShotLearner("maml", encoder=words, **settings), X, least=0.5)


def sounds(shape):
    inputs = keras.Input(shape)
    x = keras.layers.MelSpectrogram(
        fft_length=64, sequence_stride=32, sampling_rate=800, num_mel_bins=8, max_freq=400,
        min_freq=20.0,
    )(inputs)  # fmt: skip
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Permute((2, 1))(x))
    return keras.Model(inputs, keras.layers.Dense(6)(x))


def test_sounds_as_spectrograms():
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 6, (len(Y), 1)) + np.arange(256) / 800 * 2 * np.pi * (
        40 + 40 * Y[:, None]
    )
    X = (np.sin(phase) + 0.1 * rng.normal(size=phase.shape)).astype(np.float32)
    check(FewShotLearner("maml", encoder=sounds, **SETTINGS), X)
