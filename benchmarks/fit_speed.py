"""How many CPU seconds does fitting a small perceptron take, against ``keras.Model.fit``?

The same network, optimizer, epochs, batch size and encoded rows. "first fit" traces, "second fit"
is another estimator of the same architecture in the same process. `value` is the accuracy on
held-out rows.
"""

from __future__ import annotations

import numpy as np
import record
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split


def load(options):
    digits = load_digits()
    yield "digits", digits.data, digits.target, 30
    path = record.data_file(options.data, "tabular/adult.csv.gz")
    if path is not None:
        import pandas as pd

        frame = pd.read_csv(path)
        yield "adult", frame.drop(columns=["income", "split"]), frame["income"].to_numpy(str), 3


def main():
    options = record.arguments(__doc__, seeds=3)
    from autokit import KerasClassifier
    from autokit.layers import mlp
    from autokit.training import clear_programs, seeded

    lines = []
    for data, X, y, epochs in load(options):
        for seed in range(options.seeds):
            parts = train_test_split(X, y, stratify=y, random_state=seed)
            X_train, X_test, y_train, y_test = parts
            clear_programs()
            for method in ("autokit, first fit", "autokit, second fit"):
                model = KerasClassifier(epochs=epochs, random_state=seed)
                with record.measured() as cost:
                    model.fit(X_train, y_train)
                value = accuracy_score(y_test, model.predict(X_test))
                lines.append(record.write("fit_speed", method, data, seed, value, **cost))
            codes = np.searchsorted(model.classes_, y_train)
            rows = model.encoder_.encode(X_train)
            with seeded(seed):
                shape, outputs = rows.shape[1:], len(model.classes_)
                peer = mlp(shape, outputs, output_activation="softmax", dropout=0.1)
            peer.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
            with record.measured() as cost:
                peer.fit(rows, codes, epochs=epochs, verbose=0)
            answers = peer.predict(model.encoder_.encode(X_test), verbose=0).argmax(1)
            value = accuracy_score(y_test, model.classes_[answers])
            lines.append(record.write("fit_speed", "keras.Model.fit", data, seed, value, **cost))
    print(record.table(lines, {"value": 4, "cpu_seconds": 2, "seconds": 2}))
    for data in dict.fromkeys(line["data"] for line in lines):
        for method in ("autokit, first fit", "autokit, second fit"):
            times = record.ratio(lines, "cpu_seconds", "keras.Model.fit", method, data)
            print(f"{data}, {method}: {times:.1f} times fewer CPU seconds than keras.Model.fit")


if __name__ == "__main__":
    main()
