"""What do integers cost, and what does training for them win back?

Files of the float network ("float32"), of the same network quantised after training ("ptq") and
after quantisation-aware training ("qat"), in int8 and with weights of 4 bits. `value` is the
accuracy of the file on test rows, `size` its bytes by those of the float file, `points_lost` the
accuracy that it is below the float file's, in points.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import record

_TRAIN_ROWS, _TEST_ROWS = 10_000, 5_000
_FILES = {"int8": 8, "int4": 4}


def main():
    options = record.arguments(__doc__, seeds=3, only="")
    sets = {"digits": digits(), "mnist": mnist(options.data)}
    lines = []
    wanted = options.only.split(",")
    for seed in range(options.seeds):
        for network, of in NETWORKS.items():
            for data in of:
                named = any(part in f"{data} {network}" for part in wanted)
                if named and sets[data] is not None:
                    lines += measured(data, network, seed, *sets[data])
    columns = {"value": 4, "size": 3, "size_kb": 1, "points_lost": 2, "seconds": 1}
    print(record.table(lines, columns))


def measured(data, network, seed, X, y, X_test, y_test):
    from autokit import KerasClassifier
    from autokit.compression import quantize_aware

    shape, build, epochs, tuning = NETWORKS[network][data]
    X, X_test = (part.reshape(len(part), *shape) for part in (X, X_test))
    with record.measured() as cost:
        model = KerasClassifier(build, epochs=epochs, batch_size=64, random_state=seed).fit(X, y)
    files = {"float32": (model, None, cost["seconds"])}
    for name, bits in _FILES.items():
        files[f"{name} ptq"] = (model, name, 0.0)
        with record.measured() as cost:
            trained = quantize_aware(
                model,
                X,
                y,
                bits=bits,
                epochs=tuning,
                learning_rate=5e-4,
                validation_data=(X_test, y_test),
            )
        files[f"{name} qat"] = (trained, name, cost["seconds"])
    lines, base = [], None
    for method, (estimator, quantization, seconds) in files.items():
        size, score = file_of(estimator, quantization, X, X_test, y_test)
        base = base or (size, score)
        lines.append(
            record.write(
                "quantization",
                method,
                f"{data} {network}",
                seed,
                score,
                size=size / base[0],
                size_kb=size / 1000,
                points_lost=100 * (base[1] - score),
                seconds=seconds,
            )
        )
        print(f"{data} {network} {seed} {method}: {score:.4f}, {size / 1000:.1f} kB", flush=True)
    return lines


def file_of(estimator, quantization, X, X_test, y_test):
    """Bytes and accuracy of the exported file; it is judged here, not refused there."""
    from autokit import TFLiteModel, export_tflite

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        report = export_tflite(
            estimator, path, quantization=quantization, representative_data=X[:400], tolerance=1.0
        )
        return report.size_bytes, float((TFLiteModel(path).predict(X_test) == y_test).mean())


def digits():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, target = load_digits().images / 16, load_digits().target
    X, X_test, y, y_test = train_test_split(images, target, stratify=target, random_state=0)
    return X.astype("float32"), y, X_test.astype("float32"), y_test


def mnist(folder):
    file = record.data_file(folder, "images/mnist.npz")
    if file is None:
        return None
    with np.load(file) as arrays:
        X, y = arrays["x_train"][:_TRAIN_ROWS], arrays["y_train"][:_TRAIN_ROWS]
        X_test, y_test = arrays["x_test"][:_TEST_ROWS], arrays["y_test"][:_TEST_ROWS]
    return (X / 255).astype("float32"), y, (X_test / 255).astype("float32"), y_test


def mlp(shape, n_outputs):
    from autokit.layers import mlp

    widths = (160, 128) if shape[0] < 100 else (128, 96)
    return mlp(shape, n_outputs, widths=widths, output_activation="softmax")


def cnn(shape, n_outputs):
    """Plain convolutions, halved by strides where the image is large."""
    x = inputs = _layers().Input(shape)
    large = shape[0] > 16
    for width, strides in ((16, 1 + large), (32, 2), (64, 1), (64, 1)):
        x = _conv(x, width, 3, strides)
    return _head(inputs, x, n_outputs)


def narrow(shape, n_outputs):
    """Few channels in many layers: nothing averages out what the rounding of each adds."""
    x = inputs = _layers().Input(shape)
    for width, strides in ((8, 1), (8, 1), (8, 1), (12, 2), (12, 1), (12, 1), (16, 1)):
        x = _conv(x, width, 3, strides)
    return _head(inputs, x, n_outputs)


def depthwise(shape, n_outputs):
    """The blocks of MobileNet (Howard et al. 2017): depthwise and pointwise convolutions."""
    layers = _layers()
    inputs = layers.Input(shape)
    large = shape[0] > 16
    x = _conv(inputs, 32, 3, 1 + large)
    for width, strides in ((64, 1), (128, 2), (128, 1), (128, 1)):
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
        x = _conv(x, width, 1, 1)
    return _head(inputs, x, n_outputs)


def lstm(units):
    def build(shape, n_outputs):
        layers = _layers()
        inputs = layers.Input(shape)
        x = layers.LSTM(units)(inputs)
        return _model(inputs, layers.Dense(n_outputs, activation="softmax")(x))

    return build


# The rows' shape, the network, epochs of training and of quantisation-aware training. The steps
# of a recurrent network are unrolled in int8, at some 2 kB each: it gets few of them.
NETWORKS = {
    "mlp": {
        "digits": ((64,), mlp, 60, 3),
        "mnist": ((784,), mlp, 8, 5),
    },
    "cnn": {
        "digits": ((8, 8, 1), cnn, 40, 15),
        "mnist": ((28, 28, 1), cnn, 8, 4),
    },
    "lstm": {
        "digits": ((4, 16), lstm(192), 40, 10),
        "mnist": ((7, 112), lstm(256), 4, 2),
    },
    "depthwise": {
        "digits": ((8, 8, 1), depthwise, 40, 15),
        "mnist": ((28, 28, 1), depthwise, 4, 3),
    },
    "narrow cnn": {
        "digits": ((8, 8, 1), narrow, 40, 15),
    },
}


def _layers():
    from autokit._backend import keras

    return keras.layers


def _model(inputs, outputs):
    from autokit._backend import keras

    return keras.Model(inputs, outputs)


def _conv(x, width, side, strides):
    layers = _layers()
    x = layers.Conv2D(width, side, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))


def _head(inputs, x, n_outputs):
    layers = _layers()
    x = layers.GlobalAveragePooling2D()(x)
    return _model(inputs, layers.Dense(n_outputs, activation="softmax")(x))


if __name__ == "__main__":
    main()
