"""How many trials a minute does `TunerSearchCV` run, against keras-tuner and `GridSearchCV`?

Part one, a random search: keras-tuner alone (``RandomSearch``) and ``TunerSearchCV`` over
``KerasClassifier(model=build)`` with the same ``build(hp)``, points, epochs, batches and held-out
rows, in turns. Part two, a grid on 3 folds: ``TunerSearchCV(tuner="grid")`` and ``GridSearchCV``
over ``KerasClassifier``, and ``GridSearchCV`` over ``keras.wrappers.SKLearnClassifier``. No pruning
and no refit. `value` is trials a minute, each method with its own compilations; `best` the best
score.
"""

from __future__ import annotations

import tempfile

import numpy as np
import record
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler

GRID = {
    "units": [16, 32, 64, 128],
    "activation": ["relu", "tanh"],
    "learning_rate": [1e-3, 3e-3, 1e-2],
}


def load(options):
    digits = load_digits()
    rows = StandardScaler().fit_transform(digits.data).astype("float32")
    yield "digits", rows, digits.target, 10, 32
    path = record.data_file(options.data, "tabular/adult.csv.gz")
    if path is not None:
        import pandas as pd

        frame = pd.read_csv(path)
        X = frame.drop(columns=["income", "split"])
        numbers = X.select_dtypes("number")
        parts = [
            StandardScaler().fit_transform(numbers.fillna(numbers.median())),
            OneHotEncoder(sparse_output=False).fit_transform(
                X.drop(columns=numbers.columns).astype(str)
            ),
        ]
        codes = np.unique(frame["income"].to_numpy(str), return_inverse=True)[1]
        yield "adult", np.hstack(parts).astype("float32"), codes, 3, 128


def network(n_features, n_classes, units, activation, learning_rate, layers=1, dropout=0.0):
    import keras

    model = keras.Sequential([keras.Input((n_features,))])
    for _ in range(layers):
        model.add(keras.layers.Dense(units, activation=activation))
        if dropout:
            model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(n_classes, activation="softmax"))
    model.compile(
        keras.optimizers.Adam(learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def maker(n_features, n_classes):
    def build(hp):
        return network(
            n_features,
            n_classes,
            units=hp.Int("units", 32, 128, step=32),
            activation=hp.Choice("activation", ["relu", "tanh"]),
            learning_rate=hp.Float("learning_rate", 1e-4, 1e-2, sampling="log"),
            layers=hp.Int("layers", 1, 2),
            dropout=hp.Choice("dropout", [0.0, 0.2]),
        )

    return build


def random_ours(build, X, y, split, epochs, batch_size, trials, seed):
    from keras_tuner.oracles import RandomSearchOracle

    from autokit import KerasClassifier
    from autokit.tuning import TunerSearchCV

    search = TunerSearchCV(
        KerasClassifier(model=build, epochs=epochs, batch_size=batch_size),
        tuner=RandomSearchOracle(max_trials=trials, seed=seed + 1),
        n_trials=trials,
        cv=[split],
        pruner=None,
        refit=False,
        random_state=seed,
    ).fit(X, y)
    points = [dict(values) for values in search.cv_results_["params"]]
    names = [{k.removeprefix("model__"): v for k, v in p.items()} for p in points]
    return search.cv_results_["mean_test_score"].max(), names


def random_keras_tuner(build, X, y, split, epochs, batch_size, trials, seed):
    from keras_tuner import Objective, RandomSearch

    train, test = split
    with tempfile.TemporaryDirectory() as folder:
        tuner = RandomSearch(
            build,
            objective=Objective("val_accuracy", "max"),
            max_trials=trials,
            seed=seed + 1,
            directory=folder,
        )
        tuner.search(
            X[train],
            y[train],
            validation_data=(X[test], y[test]),
            epochs=epochs,
            batch_size=batch_size,
            verbose=0,
        )
        found = tuner.oracle.get_best_trials(trials)
        points = {t.trial_id: dict(t.hyperparameters.values) for t in found}
        return found[0].score, [points[trial] for trial in sorted(points)]


def grid_tuner(build, X, y, folds, epochs, batch_size, seed):
    from autokit import KerasClassifier
    from autokit.tuning import TunerSearchCV

    space = {f"model__{name}": values for name, values in GRID.items()} | {
        "model__layers": [1],
        "model__dropout": [0.0],
    }
    return TunerSearchCV(
        KerasClassifier(model=build, epochs=epochs, batch_size=batch_size),
        space,
        tuner="grid",
        n_trials=None,
        cv=folds,
        pruner=None,
        refit=False,
        random_state=seed,
    ).fit(X, y)


def grid_ours(build, X, y, folds, epochs, batch_size, seed):
    from autokit import KerasClassifier

    estimator = KerasClassifier(
        model=build, epochs=epochs, batch_size=batch_size, random_state=seed
    )
    space = {f"model__{name}": values for name, values in GRID.items()}
    return GridSearchCV(estimator, space, cv=folds, refit=False).fit(X, y)


def grid_keras(build, X, y, folds, epochs, batch_size, seed):
    import itertools

    import keras
    from keras.wrappers import SKLearnClassifier

    def model(X, y, **settings):
        return network(X.shape[1], y.shape[1] if y.ndim > 1 else int(y.max()) + 1, **settings)

    def sparse(X, y, **settings):
        network = model(X, y, **settings)
        loss = "categorical_crossentropy" if y.ndim > 1 else "sparse_categorical_crossentropy"
        network.compile(network.optimizer, loss, metrics=["accuracy"])
        return network

    settings = [
        dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())
    ]
    search = GridSearchCV(
        SKLearnClassifier(sparse),
        {"model_kwargs": settings},
        cv=folds,
        scoring="accuracy",
        refit=False,
    )
    keras.config.disable_interactive_logging()
    # its clones forget the settings of fit that it was made with
    return search.fit(X, y, epochs=epochs, batch_size=batch_size, verbose=0)


def main():
    options = record.arguments(__doc__, seeds=3, trials=20, scale=1.0)
    from autokit.training import clear_programs, seeded

    lines = []
    for data, X, y, epochs, batch_size in load(options):
        kept = int(len(X) * options.scale)
        X, y = X[:kept], y[:kept]
        build = maker(X.shape[1], len(np.unique(y)))
        for seed in range(options.seeds):
            split = train_test_split(
                np.arange(len(X)), test_size=0.25, stratify=y, random_state=seed
            )
            methods = {"autokit": random_ours, "keras-tuner": random_keras_tuner}
            points = {}
            for method in sorted(methods, reverse=seed % 2 == 1):
                clear_programs()
                with record.measured() as cost, seeded(seed):
                    best, points[method] = methods[method](
                        build, X, y, split, epochs, batch_size, options.trials, seed
                    )
                speed = 60 * options.trials / cost["seconds"]
                lines.append(
                    record.write("tuning_speed", method, data, seed, speed, best=best, **cost)
                )
            assert points["autokit"] == points["keras-tuner"], "the points differ"
            folds = list(StratifiedKFold(3, shuffle=True, random_state=seed).split(X, y))
            methods = {
                "TunerSearchCV, grid": grid_tuner,
                "GridSearchCV, KerasClassifier": grid_ours,
                "GridSearchCV, SKLearnClassifier": grid_keras,
            }
            for method in sorted(methods, reverse=seed % 2 == 1):
                clear_programs()
                with record.measured() as cost, seeded(seed):
                    search = methods[method](build, X, y, folds, epochs, batch_size, seed)
                table = search.cv_results_
                speed = 60 * len(table["params"]) / cost["seconds"]
                best = float(np.max(table["mean_test_score"]))
                lines.append(
                    record.write("tuning_speed", method, data, seed, speed, best=best, **cost)
                )
    print(record.table(lines, {"value": 1, "best": 4, "seconds": 1, "cpu_seconds": 1}))
    pairs = [
        ("autokit", "keras-tuner"),
        ("TunerSearchCV, grid", "GridSearchCV, KerasClassifier"),
        ("TunerSearchCV, grid", "GridSearchCV, SKLearnClassifier"),
    ]
    for data in dict.fromkeys(line["data"] for line in lines):
        for ours, theirs in pairs:
            times = record.ratio(lines, "value", ours, theirs, data)
            print(f"{data}: {ours} runs {times:.1f} times the trials a minute of {theirs}")


if __name__ == "__main__":
    main()
