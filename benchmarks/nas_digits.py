"""What does a minute of architecture search reach on digits, beside its peers?

scikit-learn's digits, 75/25 stratified with seed 0, as in the quickstart; the seed is the
search's. `value` is the accuracy on the held-out quarter. keras-tuner's Hyperband searches
perceptrons over the same training rows; it has no clock and ends by its own schedule.
"""

from __future__ import annotations

import tempfile

import record
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class Hyperband:
    """keras-tuner's Hyperband over perceptrons, then a fit of the best on all rows."""

    def __init__(self, seed):
        self.seed = seed

    def fit(self, X, y):
        import keras
        import keras_tuner

        def build(hp):
            model = keras.Sequential([keras.Input((64,)), keras.layers.Rescaling(1 / 16)])
            for i in range(hp.Int("depth", 1, 3)):
                width = hp.Choice(f"width_{i}", [32, 64, 128, 256])
                model.add(keras.layers.Dense(width, activation="relu"))
                model.add(keras.layers.Dropout(hp.Choice(f"dropout_{i}", [0.0, 0.2, 0.4])))
            model.add(keras.layers.Dense(10, activation="softmax"))
            rate = hp.Choice("learning_rate", [1e-3, 3e-3, 1e-2])
            model.compile(
                keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
            )
            return model

        keras.utils.set_random_seed(self.seed)
        with tempfile.TemporaryDirectory() as folder:
            tuner = keras_tuner.Hyperband(
                build, "val_accuracy", max_epochs=20, factor=3, seed=self.seed, directory=folder
            )
            tuner.search(X, y, validation_split=0.2, verbose=0)
            self.model_ = tuner.hypermodel.build(tuner.get_best_hyperparameters()[0])
        self.model_.fit(X, y, epochs=20, verbose=0)
        return self

    def predict(self, X):
        return self.model_.predict(X, verbose=0).argmax(1)


def main():
    options = record.arguments(__doc__, seeds=3, budget=60.0)
    from autokit import NASClassifier

    digits = load_digits()
    lines = []
    for seed in range(options.seeds):
        methods = {
            "logistic regression, scaled": (
                make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
                digits.data,
            ),
            "HistGradientBoosting": (
                HistGradientBoostingClassifier(random_state=seed),
                digits.data,
            ),
            "random forest, 300": (RandomForestClassifier(300, random_state=seed), digits.data),
            "keras-tuner Hyperband": (Hyperband(seed), digits.data),
            f"autokit NASClassifier, {options.budget:g} s": (
                NASClassifier(time_budget_s=options.budget, random_state=seed),
                digits.images,
            ),
        }
        for method, (model, X) in methods.items():
            X_train, X_test, y_train, y_test = train_test_split(
                X, digits.target, stratify=digits.target, random_state=0
            )
            with record.measured() as cost:
                model.fit(X_train, y_train)
            value = float((model.predict(X_test) == y_test).mean())
            more = {}
            if hasattr(model, "search_result_"):
                more["trials"] = len(model.search_result_.evaluations)
                more["parameters"] = model.model_.count_params()
            lines.append(record.write("nas_digits", method, "digits", seed, value, **cost, **more))
            print(record.table(lines[-1:], {"value": 4, "seconds": 1}).splitlines()[-1], flush=True)
    print(record.table(lines, {"value": 4, "seconds": 1, "cpu_seconds": 1, "trials": 1}))


if __name__ == "__main__":
    main()
