"""TensorFlow and Keras, imported in one place so that the backend is checked once."""

from __future__ import annotations

import os
import sys


def _require_tensorflow_backend() -> None:
    if "keras" not in sys.modules:
        # KERAS_BACKEND, or the user's keras.json, may name another one: say so before it loads.
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    active = keras.backend.backend()
    if active != "tensorflow":
        raise ImportError(
            f"autokit runs on Keras' TensorFlow backend, but {active!r} is active; set the "
            "environment variable KERAS_BACKEND=tensorflow before Keras is first imported."
        )


_require_tensorflow_backend()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

__all__ = ["keras", "tf"]
