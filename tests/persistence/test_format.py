"""Files that earlier versions wrote.

A file of each format is kept under ``data/``. One is never written again: a version that
cannot read it must learn to. ``python tests/persistence/test_format.py`` writes that of the
current format, before the first release of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import autokit

DATA = Path(__file__).parent / "data"
ROWS = pd.DataFrame(
    {"age": [20.0, 40.0, np.nan, 60.0], "city": ["Oslo", "Rome", "Rome", None]},
)
LABELS = np.array(["no", "yes", "yes", "no"])


def build(input_shape, n_outputs):
    from autokit._backend import keras

    return keras.Sequential(
        [keras.Input(input_shape), keras.layers.Dense(n_outputs, activation="softmax")]
    )


@pytest.mark.parametrize("version", [1])
def test_a_file_of_an_earlier_format(version):
    loaded = autokit.load(DATA / f"format-{version}.autokit")
    expected = np.load(DATA / f"format-{version}.npy")
    assert loaded.classes_.tolist() == ["no", "yes"]
    assert loaded.feature_names_in_.tolist() == ["age", "city"]
    # Another version of TensorFlow may round otherwise.
    np.testing.assert_allclose(loaded.predict_proba(ROWS), expected, rtol=1e-5)
    loaded.partial_fit(ROWS, LABELS)


if __name__ == "__main__":
    from autokit.persistence.archive import FORMAT_VERSION

    DATA.mkdir(exist_ok=True)
    estimator = autokit.KerasClassifier(build, epochs=3, random_state=0).fit(ROWS, LABELS)
    autokit.save(estimator, DATA / f"format-{FORMAT_VERSION}.autokit")
    np.save(DATA / f"format-{FORMAT_VERSION}.npy", estimator.predict_proba(ROWS))
