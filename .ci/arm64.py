"""The three steps of .ci/arm64: `export DIR`, `run DIR NAME` on each machine, `compare DIR`.

`run` needs LiteRT and NumPy only; it runs in the emulator too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

ROWS = "rows.npy"
N_TRAIN = 1257  # the other 540 rows are run
# Largest difference between machines: rounding; or a step of an integer, carried through.
LIMITS = {"none": 1e-4, "float16": 1e-3}
QUANTISED_LIMIT = 0.1
# A row whose two best classes are this close may go either way.
UNDECIDED = 0.02
FULL, SHORT = None, (None, "dynamic", "int8")


def networks():
    """The kinds of network, and the quantisations of each (all of them, or the main ones)."""
    import keras
    from keras import layers

    from autokit.layers import cnn, mlp

    def after(layer):
        def build(shape, n_outputs):
            inputs = keras.Input(shape)
            return keras.Model(inputs, layers.Dense(n_outputs, "softmax")(layer(inputs)))

        return build

    def attention(x):
        return layers.Flatten()(layers.MultiHeadAttention(2, 8)(x, x))

    def separable(x):
        x = layers.SeparableConv2D(16, 3, activation="relu")(layers.Reshape((8, 8, 1))(x))
        return layers.GlobalAveragePooling2D()(layers.SeparableConv2D(32, 3, activation="relu")(x))

    softmax = {"output_activation": "softmax"}
    return {
        "mlp": (lambda shape, n: mlp(shape, n, widths=(32,), **softmax), FULL),
        "cnn": (lambda shape, n: cnn(shape, n, stem_width=8, widths=(8, 16), **softmax), FULL),
        "separable": (after(separable), SHORT),
        "lstm": (after(layers.LSTM(16)), SHORT),
        "gru": (after(layers.GRU(16)), SHORT),
        "attention": (after(attention), SHORT),
    }


def export(folder: Path) -> None:
    """Train each network for a moment, and write its files and the rows to run."""
    from sklearn.datasets import load_digits

    from autokit import KerasClassifier, export_tflite
    from autokit.deploy.quantizers import QUANTIZERS

    folder.mkdir(parents=True)
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8).astype(np.float32) / 16
    np.save(folder / ROWS, X[N_TRAIN:])
    for name, (build, quantizations) in networks().items():
        model = KerasClassifier(build, epochs=6, learning_rate=0.01, random_state=0)
        model.fit(X[:N_TRAIN], y[:N_TRAIN])
        for quantization in QUANTIZERS if quantizations is None else quantizations:
            file = folder / f"{name}.{quantization or 'none'}.tflite"
            try:
                export_tflite(model, file, quantization=quantization, representative_data=X[:200])
            except ValueError as error:
                print(f"{file.stem}: no file: {str(error)[:120]}")


def run(folder: Path, machine: str) -> None:
    """Run every file on all rows, and keep the outputs."""
    from ai_edge_litert.interpreter import Interpreter

    rows = np.load(folder / ROWS)
    outputs = {}
    for file in sorted(folder.glob("*.tflite")):
        runner = Interpreter(str(file), num_threads=1).get_signature_runner("serve")
        fixed = runner.get_input_details()["rows"]["shape_signature"][0] > 0
        step = 1 if fixed else len(rows)
        parts = [runner(rows=rows[i : i + step])["output"] for i in range(0, len(rows), step)]
        outputs[file.stem] = np.concatenate(parts)
    np.savez(folder / f"{machine}.npz", **outputs)


def compare(folder: Path) -> int:
    """Print a table; 1 if a file answers otherwise on the other machine."""
    here, there = np.load(folder / "here.npz"), np.load(folder / "arm64.npz")
    wrong = [] if here.files else ["no file at all"]
    print(f"{'network':<11}{'quantisation':<14}{'rows':>5}{'agreement':>11}{'max error':>11}")
    for key in here.files:
        name, quantization = key.split(".")
        ours, theirs = here[key], there[key]
        error = np.abs(ours - theirs).max()
        same = ours.argmax(axis=1) == theirs.argmax(axis=1)
        best = np.sort(ours, axis=1)
        decided = best[:, -1] - best[:, -2] > UNDECIDED
        row = f"{name:<11}{quantization:<14}{len(ours):>5}{same.mean():>11.4f}{error:>11.2e}"
        if not same[decided].all() or not error <= LIMITS.get(quantization, QUANTISED_LIMIT):
            wrong.append(key)
            row += "  differs"
        print(row)
    if wrong:
        print(f"arm64 answers otherwise: {', '.join(wrong)}")
    return int(bool(wrong))


if __name__ == "__main__":
    step, folder = sys.argv[1], Path(sys.argv[2])
    if step == "export":
        export(folder)
    elif step == "run":
        run(folder, sys.argv[3])
    else:
        sys.exit(compare(folder))
