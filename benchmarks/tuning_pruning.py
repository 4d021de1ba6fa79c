"""How many epochs does pruning save, and what does it cost?

scikit-learn's digits, three quarters of them searched with 3 folds, 30 trials of random points
(the same with every pruner), 20 epochs a fold: a perceptron's learning rate, batch size, width and
depth. `value` is the share of epochs saved against the same search without pruning; `best` the
best mean score, `test` the accuracy of the refitted winner on the quarter held out.
"""

from __future__ import annotations

import record
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

PRUNERS = "none median halving hyperband wilcoxon"


def network(width, depth):
    import keras

    def build(input_shape, n_outputs):
        layers = [keras.layers.Dense(width, activation="relu") for _ in range(depth)]
        return keras.Sequential(
            [
                keras.Input(input_shape),
                keras.layers.Rescaling(1 / 16),
                *layers,
                keras.layers.Dense(n_outputs, activation="softmax"),
            ]
        )

    build.__qualname__ = f"network({width}, {depth})"
    return build


def main():
    options = record.arguments(__doc__, seeds=5, first=0, pruners=PRUNERS, dry=0)
    from autokit import KerasClassifier
    from autokit.tuning import Categorical, Float, TunerSearchCV

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    space = {
        "model": Categorical([network(width, depth) for width in (32, 128) for depth in (1, 2)]),
        "learning_rate": Float(1e-5, 1e-1, log=True),
        "batch_size": Categorical([32, 64, 128]),
    }
    for seed in range(options.first, options.first + options.seeds):
        spent = {}
        for pruner in options.pruners.split():
            with record.measured() as cost:
                search = TunerSearchCV(
                    KerasClassifier(epochs=20),
                    space,
                    tuner="random",
                    n_trials=30,
                    cv=3,
                    pruner=None if pruner == "none" else pruner,
                    random_state=seed,
                ).fit(X_train, y_train)
            spent[pruner] = int(search.cv_results_["epochs"].sum())
            saved = 1 - spent[pruner] / spent["none"]
            test = float(search.score(X_test, y_test))
            best = float(search.best_score_)
            if not options.dry:
                record.write(
                    "tuning_pruning", pruner, "digits", seed, saved, best=best, test=test, **cost
                )
            print(
                f"seed {seed} {pruner:10} saved {saved:6.1%}  best {best:.4f}  test {test:.4f}  "
                f"{cost['cpu_seconds']:.1f} CPU-s",
                flush=True,
            )


if __name__ == "__main__":
    main()
