"""How long does one row of ``predict`` take?

Against a bare compiled forward of the same model (no validation, no decoding), and against
``model.predict``. `value` is the median of many single calls in microseconds; the three take
turns, so that all see the same machine.
"""

from __future__ import annotations

import random
import statistics
import time

import record
from sklearn.datasets import load_digits

ROUNDS, CALLS = 30, 20


def bare_forward(model, rows):
    """The least that answers rows: a traced forward, called without any signature matching."""
    from autokit._backend import tf

    forward = tf.function(lambda x: model(x, training=False), autograph=False)
    return forward.get_concrete_function(tf.TensorSpec((None, *rows.shape[1:]), rows.dtype))


def main():
    options = record.arguments(__doc__, seeds=3)
    from autokit import KerasClassifier
    from autokit._backend import tf

    digits = load_digits()
    lines = []
    for data, X in (("digits rows", digits.data), ("digits images", digits.images)):
        for seed in range(options.seeds):
            model = KerasClassifier(epochs=2, random_state=seed).fit(X, digits.target)
            keras_model, row = model.model_, X[:1].astype("float32")
            encoded = tf.constant(model.encoder_.encode(row))
            bare = bare_forward(keras_model, encoded)
            calls = {
                "bare compiled forward": lambda f=bare, e=encoded: f(e).numpy(),
                "autokit predict": lambda m=model, r=row: m.predict(r),
                "keras model.predict": lambda m=keras_model, r=encoded: m.predict(r, verbose=0),
            }
            times = {name: [] for name in calls}
            for call in calls.values():
                call()
            order = random.Random(seed)
            for _ in range(ROUNDS):
                # in random order: who follows model.predict finds cold caches
                for name, call in order.sample(list(calls.items()), len(calls)):
                    for _ in range(CALLS if "keras" not in name else 1):
                        started = time.perf_counter()
                        call()
                        times[name].append(1e6 * (time.perf_counter() - started))
            for name, seconds in times.items():
                value = statistics.median(seconds)
                lines.append(record.write("predict_latency", name, data, seed, value))
    print(record.table(lines, {"value": 0}))
    for data in dict.fromkeys(line["data"] for line in lines):
        ours = "autokit predict"
        over = record.ratio(lines, "value", ours, "bare compiled forward", data)
        under = record.ratio(lines, "value", "keras model.predict", ours, data)
        print(f"{data}: {over:.2f} x the bare forward; model.predict takes {under:.0f} x as long")


if __name__ == "__main__":
    main()
