"""TensorFlow and Keras, imported in one place so that the backend is checked once."""

from __future__ import annotations

import os
import sys

_WRONG_BACKEND = (
    "autokit runs on Keras' TensorFlow backend, but {!r} is active; set the environment variable "
    "KERAS_BACKEND=tensorflow before Keras is first imported."
)


def _require_tensorflow_backend() -> None:
    if "keras" not in sys.modules:
        # without it, the user's keras.json decides
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        import keras
    except ImportError as error:
        wanted = os.environ["KERAS_BACKEND"]
        if wanted == "tensorflow":
            raise
        raise ImportError(_WRONG_BACKEND.format(wanted)) from error
    active = keras.backend.backend()
    if active != "tensorflow":
        raise ImportError(_WRONG_BACKEND.format(active))


_require_tensorflow_backend()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

__all__ = ["keras", "tf"]
