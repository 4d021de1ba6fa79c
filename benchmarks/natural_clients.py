"""Clients as they come: speakers of digits, and roles of Shakespeare.

spoken digits: six speakers, a client each; five train and the sixth, whom nobody has heard, is
asked (`seed` is his number). Log-mel frames without the mean of their clip, and a convolutional
network with layer normalisation. `value` is the accuracy on all clips of the sixth.

shakespeare: the next character after twenty, by role; the 100 roles with most text, a client each,
the last fifth of each role's lines is asked. An embedding and a recurrent layer of 64 units.
`value` is the accuracy over all roles, `worst` that of the worst tenth of them.

central: the same network trained on everybody's rows together, for as many epochs as a client
trains on average. alone: a network for each client from its own rows only, asked as the others.
"""

from __future__ import annotations

import sys

import numpy as np
import record
from natural_streams import mel_frames

QUESTION = "natural_clients"
SPEAKERS = {
    "n_rounds": 25,
    "local_epochs": 2,
    "batch_size": 20,
    "client_learning_rate": 0.1,
}
ROLES = {
    "n_rounds": 150,
    "clients_per_round": 10,
    "local_epochs": 1,
    "batch_size": 10,
    "client_learning_rate": 0.3,
}
LETTERS, LENGTH, STRIDE, MOST = 65, 20, 3, 400


def federated(method: str):
    from autokit.federated import FedAdam, FedAvg, FedAvgM, FedProx, Scaffold

    return {
        "fedavg": FedAvg(),
        "fedprox": FedProx(mu=0.01),
        "fedavgm": FedAvgM(momentum=0.9, learning_rate=0.5),
        "fedadam": FedAdam(learning_rate=0.01),
        "scaffold": Scaffold(),
    }[method]


def ears(shape, n_outputs):
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv1D(48, 5, padding="same", activation="relu"),
            layers.LayerNormalization(),
            layers.MaxPooling1D(2),
            layers.Conv1D(48, 5, padding="same", activation="relu"),
            layers.LayerNormalization(),
            layers.MaxPooling1D(2),
            layers.Conv1D(64, 3, padding="same", activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dropout(0.3),
            layers.Dense(n_outputs, activation="softmax"),
        ]
    )


def writer(shape, n_outputs):
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Embedding(LETTERS, 8),
            layers.LSTM(64),
            layers.Dense(n_outputs, activation="softmax"),
        ]
    )


def speakers(folder):
    """``(rows, digits, speaker of each)``."""
    path = record.data_file(folder, "audio/fsdd.npz")
    if path is None:
        return None
    with np.load(path) as file:
        audio, ends = file["audio"] / 32768, file["offsets"]
        digit, speaker = file["digit"], file["speaker"]
    x = np.stack([mel_frames(audio[a:b]) for a, b in zip(ends[:-1], ends[1:], strict=True)])
    x = (x - x.mean(axis=1, keepdims=True)) / 3
    return x, digit, np.unique(speaker, return_inverse=True)[1]


def roles(folder):
    """Training and test ``(rows, characters, role of each)``."""
    path = record.data_file(folder, "federated/tinyshakespeare.txt")
    if path is None:
        return None
    text = path.read_text()
    codes = {letter: i for i, letter in enumerate(sorted(set(text)))}
    said: dict[str, list[str]] = {}
    for speech in text.split("\n\n"):
        name, _, words = speech.partition(":\n")
        said.setdefault(name, []).append(words)
    texts = sorted(("\n".join(parts) for parts in said.values()), key=len)[-100:]
    parts: dict[str, list] = {"train": [], "test": []}
    for role, whole in enumerate(texts):
        numbers = np.array([codes[letter] for letter in whole])
        cut = int(0.8 * len(numbers))
        for name, piece in (("train", numbers[:cut]), ("test", numbers[cut:])):
            starts = np.arange(0, len(piece) - LENGTH, STRIDE)[:MOST]
            rows = piece[starts[:, None] + np.arange(LENGTH)]
            parts[name].append((rows, piece[starts + LENGTH], np.full(len(starts), role)))
    return [[np.concatenate(p) for p in zip(*parts[n], strict=True)] for n in ("train", "test")]


def trained(method, model, settings, X, y, clients, seed):
    """Something that predicts, for each client or for all."""
    from autokit import FederatedTrainer, KerasClassifier

    if method not in ("central", "alone"):
        trainer = FederatedTrainer(model, federated(method), **settings, random_state=seed)
        return trainer.fit(X, y, client_ids=clients)
    per_round = settings.get("clients_per_round", len(np.unique(clients)))
    share = per_round / len(np.unique(clients))
    single = KerasClassifier(
        model,
        epochs=max(1, round(settings["n_rounds"] * settings["local_epochs"] * share)),
        batch_size=settings["batch_size"],
        optimizer="sgd",
        learning_rate=settings["client_learning_rate"],
        random_state=seed,
    )
    return single.fit(X, y)


def unheard(folder, method: str, seed: int) -> dict | None:
    found = speakers(folder)
    if found is None:
        return None
    X, y, who = found
    heard = who != seed
    with record.measured() as cost:
        if method == "alone":
            models = [
                trained(method, ears, SPEAKERS, X[who == k], y[who == k], who[who == k], seed)
                for k in np.unique(who[heard])
            ]
        else:
            models = [trained(method, ears, SPEAKERS, X[heard], y[heard], who[heard], seed)]
    scores = [model.score(X[~heard], y[~heard]) for model in models]
    return {"value": float(np.mean(scores)), **cost}


def stage(folder, method: str, seed: int) -> dict | None:
    found = roles(folder)
    if found is None:
        return None
    (X, y, who), (X_test, y_test, whose) = found
    with record.measured() as cost:
        model = trained(method, writer, ROLES, X, y, who, seed)
    right = model.predict(X_test) == y_test
    by_role = np.sort([right[whose == k].mean() for k in np.unique(whose)])
    return {
        "value": float(right.mean()),
        "worst": float(by_role[:10].mean()),
        "most_frequent": float(np.mean(y_test == np.bincount(y).argmax())),
        **cost,
    }


TASKS = {
    "spoken digits": (unheard, ("fedavg", "fedprox", "scaffold", "central", "alone")),
    "shakespeare": (stage, ("fedavg", "fedavgm", "central")),
}


def main() -> None:
    options = record.arguments(__doc__, seeds=6, roles=1, only="", methods="")
    for data, (run, methods) in TASKS.items():
        if options.only and options.only != data:
            continue
        for seed in range(options.seeds if data == "spoken digits" else options.roles):
            for method in options.methods.split(",") if options.methods else methods:
                line = run(options.data, method, seed)
                if line is None:
                    sys.exit(1)
                record.write(QUESTION, method, data, seed, **line)
                print(data, method, seed, line, flush=True)
    lines = record.latest(record.read(QUESTION))
    print(record.table(lines, {"value": 4, "worst": 4, "cpu_seconds": 1}))


if __name__ == "__main__":
    main()
