"""What meta-learning gains on data of other kinds, beside classifiers that know nothing of tasks.

"spoken digits": log-mel spectrograms of clips of six speakers; "digits": scikit-learn's images of
8 x 8. Training on the digits 0 to 4, tests on tasks of the other five, learnt from 1 or 5 rows of
each; `value` is the accuracy, `half_width` that of its 95 % interval. "nearest centroid" compares
raw rows, standardised by the training classes, "untrained" embeddings of random weights; both are
asked the same tasks. Quarter turns of the training digits are 15 more classes where `data` says so.

"sinusoid": Finn et al. 2017, section 5.1, on a pool of made tasks; `value` is the mean squared
error after 1 or 10 gradient steps on 5 or 10 points (training: 1 step on 10, as theirs). "all
tasks as one" is a network trained on all tasks alike, then taught each by the same steps. Their
training is 1.75 million tasks: see `episodes`. There is no value where a task's steps diverge.

Settings of both kinds of digits were chosen on "digits" with ``--first 100`` only, where digits
change sides (0 to 4 are the test); those of "sinusoid" are the paper's, but for Reptile's, which
were not tuned.
"""

from __future__ import annotations

import copy
import math
import os
from dataclasses import replace

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import numpy as np
import record

QUESTION = "few_shot_data"
N_TEST_TASKS, N_WAY, N_QUERY = 600, 5, 5
RATE, MELS, FRAMES, WINDOW, HOP = 8000, 24, 24, 256, 200  # 24 frames are 0.6 s
CENTROID, UNTRAINED, ONE = "nearest centroid", "untrained", "all tasks as one"
SELECTION = 100  # seeds from here on are for choosing settings

METHODS = {
    "prototypical": {"n_episodes": 150},
    "matching": {"n_episodes": 100},
    "maml": {
        "n_episodes": 1000,
        "meta_batch_size": 8,
        "inner_learning_rate": 0.1,
        "adaptation_steps": 5,
    },
    "meta_sgd": {"n_episodes": 1000, "meta_batch_size": 8, "adaptation_steps": 3},
    "finetune": {"n_episodes": 100},
}
POOL, POINTS, SINE_EPISODES = 10_000, 20, 100_000
STEPS, SHOTS, STEP = (1, 10), (5, 10), 0.01


def spoken_digits(path):
    """Log-mel spectrograms of shape (mels, frames), and digits."""
    with np.load(path) as file:
        audio, offsets, digit = file["audio"], file["offsets"], file["digit"]
    filters = mel_filters()
    taper = np.hanning(WINDOW)
    wanted = WINDOW + (FRAMES - 1) * HOP
    images = np.empty((len(digit), MELS, FRAMES), np.float32)
    for i, (start, end) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        clip = audio[start:end][:wanted].astype(np.float64) / 32768
        clip = np.pad(clip, (0, wanted - len(clip)))
        frames = np.lib.stride_tricks.sliding_window_view(clip, WINDOW)[::HOP]
        power = np.abs(np.fft.rfft(frames * taper, axis=1)) ** 2
        images[i] = np.log(power @ filters.T + 1e-4).T
    return images, digit


def mel_filters() -> np.ndarray:
    """Triangles evenly spaced in mels, of shape (mels, frequencies)."""

    def mel(hertz):
        return 2595 * np.log10(1 + hertz / 700)

    places = mel(np.fft.rfftfreq(WINDOW, 1 / RATE))
    centres = np.linspace(mel(60), mel(RATE / 2), MELS + 2)
    width = centres[1] - centres[0]
    return np.maximum(0, 1 - np.abs(places - centres[1:-1, None]) / width)


def sides(X, y, seed: int):
    """Rows and labels to train on, and to be tested on."""
    trained = (y < 5) if seed < SELECTION else (y >= 5)
    return X[trained], y[trained], X[~trained], y[~trained]


def note(method, data, seed, scores, **more):
    if seed < SELECTION:
        ended = math.isfinite(scores.mean)
        more["half_width"] = scores.half_width if ended else None
        record.write(QUESTION, method, data, seed, scores.mean if ended else None, **more)
    print(f"{method:20}{data:45}{seed:4} {scores.mean:.4f} ± {scores.half_width:.4f}", flush=True)


def centroids(X, X_test, y_test, k_shot):
    """Scores of the nearest mean of standardised rows, on the tasks that the others are asked."""
    from autokit.meta import EpisodeScores
    from autokit.meta.episodes import Pool
    from autokit.meta.protocols import Layout

    layout = Layout(N_WAY, k_shot, N_QUERY)
    places = Pool(y_test).draw(np.random.default_rng(0), layout, N_TEST_TASKS)
    flat = X.reshape(len(X), -1)
    scale = flat.std(axis=0)
    rows = (X_test.reshape(len(X_test), -1) - flat.mean(axis=0)) / np.where(scale > 0, scale, 1)
    scores = []
    for task in places:
        support, query = np.split(rows[task], [layout.n_support])
        means = support.reshape(N_WAY, k_shot, -1).mean(axis=1)
        nearest = np.square(query[:, None] - means).sum(axis=2).argmin(axis=1)
        scores.append((nearest == layout.codes(N_QUERY)).mean())
    return EpisodeScores(np.array(scores), *layout, False)


def classify(name, X, y, seed, shots, augments, methods):
    """All methods on one data set."""
    from autokit import FewShotLearner

    X, y, X_test, y_test = sides(X, y, seed)
    for k_shot in shots:
        data = f"{name}, {N_WAY}-way {k_shot}-shot"
        if not methods:
            note(CENTROID, data, seed, centroids(X, X_test, y_test, k_shot))
        untrained = {"method": "prototypical", "n_episodes": 100, "outer_learning_rate": 1e-9}
        for augment in augments:
            plans = METHODS if augment else {UNTRAINED: untrained, **METHODS}
            for method, plan in plans.items():
                if methods and method not in methods:
                    continue
                settings = {"method": method, **plan}
                learner = FewShotLearner(
                    **settings, n_way=N_WAY, k_shot=k_shot, n_query=N_QUERY, augment=augment,
                    random_state=seed,
                )  # fmt: skip
                with record.measured() as cost:
                    learner.fit(X, y)
                scores = learner.evaluate(X_test, y_test, n_episodes=N_TEST_TASKS)
                more = {"episodes": settings["n_episodes"], "settings": settings, **cost}
                note(method, f"{data}{f', {augment}' if augment else ''}", seed, scores, **more)


def sinusoids(n: int, n_points: int, rng):
    """Points of `n` functions: X, y and the function of each point."""
    amplitude, phase = rng.uniform(0.1, 5, (n, 1)), rng.uniform(0, np.pi, (n, 1))
    x = rng.uniform(-5, 5, (n, n_points))
    y = amplitude * np.sin(x - phase)
    return np.float32(x.reshape(-1, 1)), np.float32(y.ravel()), np.repeat(np.arange(n), n_points)


def two_of_forty(input_shape):
    """The network of the paper."""
    import keras

    layers = [keras.layers.Dense(40, "relu") for _ in range(2)]
    return keras.Sequential([keras.Input(input_shape), *layers])


def adapting(learner, **settings):
    """The same learner with another way to adapt: training need not be done again for it."""
    other, learnt = copy.copy(learner), learner._learnt
    method = copy.copy(learnt.method).set_params(**settings)
    other._learnt = replace(learnt, method=method, compiled={})
    return other


def regress(seed: int, methods):
    """All methods on sinusoids."""
    from autokit import FewShotRegressor
    from autokit.meta import MAML, MetaSGD, Reptile

    plans = {
        "maml": (MAML(inner_learning_rate=STEP), 25, SINE_EPISODES),
        "fomaml": (MAML(inner_learning_rate=STEP, first_order=True), 25, SINE_EPISODES),
        "meta_sgd": (MetaSGD(inner_learning_rate=STEP), 25, SINE_EPISODES),
        "reptile": (
            Reptile(inner_steps=10, inner_shots=10, inner_learning_rate=0.01), 5, SINE_EPISODES // 5
        ),
        ONE: (MAML(inner_learning_rate=1e-9, first_order=True), 25, SINE_EPISODES // 2),
    }  # fmt: skip
    pool = sinusoids(POOL, POINTS, np.random.default_rng(seed))
    test = sinusoids(N_TEST_TASKS, 110, np.random.default_rng(1000))
    for name, (method, size, n_episodes) in plans.items():
        if methods and name not in methods:
            continue
        learner = FewShotRegressor(
            method, encoder=two_of_forty, k_shot=10, n_query=10, meta_batch_size=size,
            n_episodes=n_episodes, random_state=seed,
        )  # fmt: skip
        X, y, tasks = pool
        with record.measured() as cost:
            learner.fit(X, y, task_ids=tasks)
        for n_steps in STEPS:
            rate = STEP if name == ONE else method.inner_learning_rate
            taught = adapting(learner, adaptation_steps=n_steps, inner_learning_rate=rate)
            for k_shot in SHOTS:
                scores = taught.evaluate(*test, k_shot=k_shot, n_query=100, n_episodes=N_TEST_TASKS)
                data = f"sinusoid, {k_shot} points, {n_steps} step{'s' * (n_steps > 1)}"
                note(name, data, seed, scores, episodes=n_episodes, **cost)


def main():
    given = record.arguments(__doc__, first=0, data_sets="", methods="", shots="1 5", augments="")
    from sklearn.datasets import load_digits

    sets = [d for d in given.data_sets.split(";") if d] or ["digits", "spoken digits", "sinusoid"]
    methods = [m for m in given.methods.split(";") if m]
    shots = [int(k) for k in given.shots.split()]
    for seed in range(given.first, given.first + given.seeds):
        if "digits" in sets:
            X, y = load_digits(return_X_y=True)
            augments = [None if a == "none" else a for a in given.augments.split()]
            classify("digits", X.reshape(-1, 8, 8), y, seed, shots,
                     augments or (None, "rotations"), methods)  # fmt: skip
        path = record.data_file(given.data, "audio/fsdd.npz")
        if "spoken digits" in sets and path is not None:
            classify("spoken digits", *spoken_digits(path), seed, shots, (None,), methods)
        if "sinusoid" in sets:
            regress(seed, methods)
    columns = {"value": 4, "half_width": 4, "episodes": 0, "cpu_seconds": 1}
    lines = record.latest(record.read(QUESTION))
    print(record.table(lines, columns))


if __name__ == "__main__":
    main()
