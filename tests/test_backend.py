"""Another Keras backend is refused with the cure, before anything else loads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "class backend:\n    backend = staticmethod(lambda: 'jax')",
        "raise ModuleNotFoundError(\"No module named 'jax'\")",
    ],
    ids=["active", "not-installed"],
)
def test_other_backends_are_refused(tmp_path, module):
    (tmp_path / "keras.py").write_text(module)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", "import autokit._backend"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: autokit runs on Keras' TensorFlow backend, but 'jax' is active; set the "
        "environment variable KERAS_BACKEND=tensorflow before Keras is first imported."
    )
