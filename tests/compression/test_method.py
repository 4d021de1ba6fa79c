"""The lifecycle that all methods share: what goes in, what comes out, what is told."""

from __future__ import annotations

import inspect
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autokit import KerasClassifier, KerasRegressor, layers
from autokit._backend import keras
from autokit.compression import CompressionReport, CompressionWarning
from autokit.compression.method import CompressionMethod, Outcome, as_verb
from autokit.compression.report import Weights
from autokit.training import Held


@dataclass(kw_only=True, eq=False, repr=False)
class Wipe(CompressionMethod):
    """Zeros a share of the first kernel's rows, and tunes.

    Parameters
    ----------
    share : float
    """

    share: float = 0.5

    def _compress(self, task):
        kernel = task.model.trainable_variables[0]
        value = kernel.value.numpy().copy()
        value[: int(self.share * len(value))] = 0
        kernel.assign(value)
        place = next(i for i, v in enumerate(task.model.variables) if v is kernel)
        task.held = Held(zeros=(place,))
        history = task.tune(self.epochs)
        self.seen = task
        return Outcome(task.model, task.held, {"losses": history.get("loss", [])})


wipe = as_verb(Wipe, "wipe", "Zero some rows.")


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(digits):
    network = layers.mlp((64,), 10, widths=(16,))
    return KerasClassifier(network, epochs=6, learning_rate=0.01, random_state=0).fit(*digits)


def kernel_of(estimator):
    return estimator.model_.layers[1].kernel.numpy()


def test_the_original_stays_and_the_copy_is_of_its_class(digits, fitted):
    before, state = kernel_of(fitted).copy(), dict(vars(fitted))
    small = wipe(fitted, *digits, epochs=1)
    np.testing.assert_array_equal(kernel_of(fitted), before)
    assert {k: v for k, v in vars(fitted).items() if k != "_forward"} == {
        k: v for k, v in state.items() if k != "_forward"
    }
    assert type(small) is KerasClassifier and small.model_ is not fitted.model_
    assert (kernel_of(small)[:32] == 0).all() and kernel_of(small)[32:].any()
    assert small.get_params().keys() == fitted.get_params().keys()
    np.testing.assert_array_equal(small.predict(digits[0][:5]).shape, (5,))


def test_the_report_tells_what_it_cost_and_saved(digits, fitted):
    small = wipe(fitted, *digits, epochs=2, share=0.25)
    report = small.compression_report_
    assert isinstance(report, CompressionReport)
    assert (report.method, report.metric) == ("Wipe", "accuracy")
    assert report.n_rows == 359  # a fifth of 1797
    assert report.n_weights_before == report.n_weights_after == 64 * 16 + 16 + 160 + 10
    assert report.size_bytes_after == 4 * report.n_weights_after
    assert report.zipped_bytes_after < report.zipped_bytes_before
    first, second = report.sparsity.values()
    assert (first, second) == (0.25, 0.0) and report.mean_sparsity == 0.125
    assert report.score_drop == report.score_before - report.score_after
    assert report.seconds > 0 and report.path == ()
    assert str(report).startswith("Wipe: accuracy 0.") and "zipped" in str(report)
    again = wipe(small, *digits, epochs=0)
    assert again.compression_report_.path == (report,)


def test_scores_are_the_estimators_own(digits, fitted):
    X, y = digits
    held_out = (X[-300:], y[-300:])
    method = Wipe(epochs=1)
    small = method.compress(fitted, X[:-300], y[:-300], validation_data=held_out)
    report = small.compression_report_
    assert report.n_rows == 300
    assert report.score_before == pytest.approx(fitted.score(*held_out))
    assert report.score_after == pytest.approx(small.score(*held_out))
    assert len(method.seen.train) == len(X) - 300


@pytest.mark.parametrize("y_kind", ["one", "several"])
def test_a_regressors_score_is_r2(y_kind):
    X, y = load_diabetes(return_X_y=True)
    y = y if y_kind == "one" else np.stack([y, X[:, 0]], axis=1)
    model = KerasRegressor(epochs=10, random_state=0).fit(X, y)
    small = wipe(model, X, y, epochs=1, validation_data=(X, y))
    report = small.compression_report_
    assert report.metric == "R2"
    assert report.score_before == pytest.approx(model.score(X, y), abs=1e-3)
    assert report.score_after == pytest.approx(small.score(X, y), abs=1e-3)


def test_two_classes_are_judged_by_accuracy(digits):
    X, y = digits
    X, y = X[y < 2], y[y < 2]
    model = KerasClassifier(epochs=5, random_state=0).fit(X, y)
    small = wipe(model, X, y, epochs=1, validation_data=(X, y))
    assert small.compression_report_.score_after == pytest.approx(small.score(X, y))


def test_as_a_training_option(digits):
    X, y = digits
    model = KerasClassifier(epochs=2, random_state=0, compression=Wipe(epochs=1, share=0.5))
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
    fitted = pipeline[-1]
    assert fitted.compression_report_.method == "Wipe"
    assert (kernel_of(fitted)[:32] == 0).all()
    assert clone(model).compression is not model.compression
    assert "compression__share" in model.get_params()
    model.set_params(compression__share=0.25).fit(X, y)
    assert model.compression_report_.sparsity and not kernel_of(model)[:16].any()
    model.set_params(compression=None).fit(X, y)
    assert not hasattr(model, "compression_report_") and not hasattr(model, "held_")


def test_the_same_seed_gives_the_same_network(digits, fitted):
    first, second = (kernel_of(wipe(fitted, *digits, epochs=1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = kernel_of(wipe(fitted, *digits, epochs=1, random_state=5))
    assert (first != other).any()


def test_a_greater_drop_than_allowed_warns(digits, fitted):
    with pytest.warns(CompressionWarning, match="cost 0.* of the accuracy .*max_score_drop=0.01"):
        wipe(fitted, *digits, share=1.0, epochs=0, max_score_drop=0.01)


@pytest.mark.parametrize(
    ("activation", "loss", "metric"),
    [
        ("softmax", None, "accuracy"),
        (None, None, "accuracy"),
        ("softmax", "sparse_categorical_crossentropy", "accuracy"),
        ("softmax", "one hot", "accuracy"),
        (None, "mse", "R2"),
    ],
)
def test_a_keras_model_and_its_loss(digits, activation, loss, metric):
    X, y = digits
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, activation)])
    if loss in ("one hot", "mse"):
        y = np.eye(10)[y]
    if loss not in (None, "one hot"):
        model.compile("sgd", loss)
    before = model.get_weights()
    small = wipe(model, X / 16, y, epochs=3)
    assert isinstance(small, keras.Model) and small.compression_report_.metric == metric
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    losses = small.compression_report_.details["losses"]
    assert losses[-1] < losses[0]
    assert (small.layers[0].kernel.numpy()[:32] == 0).all()


def test_bytes_are_those_of_a_float_file():
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(4, dtype="float16"), keras.layers.Dropout(0.5)]
    )
    weights = Weights.of(model)
    raw = b"".join(v.astype("float32").tobytes() for v in model.get_weights()[:2])
    assert weights.n_weights == 36 and weights.size_bytes == len(raw) == 144
    assert weights.zipped_bytes == len(zlib.compress(raw, 9))
    assert list(weights.sparsity) == [model.layers[0].kernel.path]


def test_verbs_show_the_parameters_of_their_class():
    names = list(inspect.signature(wipe).parameters)
    assert names[:4] == ["estimator_or_model", "X", "y", "validation_data"]
    assert {"share", "epochs", "max_score_drop"} <= set(names)
    assert wipe.__name__ == "wipe" and "Those of `Wipe`." in wipe.__doc__
    with pytest.raises(TypeError, match="shares"):
        wipe(None, None, None, shares=1)


def test_bad_input_is_named(digits, fitted):
    X, y = digits
    with pytest.raises(NotFittedError, match="not fitted yet; call fit before Wipe"):
        wipe(KerasClassifier(), X, y)
    with pytest.raises(TypeError, match="got a Pipeline; of a Pipeline, compress its last step"):
        wipe(make_pipeline(StandardScaler(), fitted), X, y)
    with pytest.raises(ValueError, match="The 'epochs' parameter of Wipe must be"):
        wipe(fitted, X, y, epochs=-1)
    with pytest.raises(ValueError, match="The 'validation_fraction' parameter of Wipe"):
        wipe(fitted, X, y, validation_fraction=1.0)
    with pytest.raises(ValueError, match="as many rows; got 1797 and 5"):
        wipe(fitted.model_, X, y[:5])
    with pytest.raises(ValueError, match="64"):
        wipe(fitted, X[:, :3], y)
    inputs = [keras.Input((2,)), keras.Input((2,))]
    double = keras.Model(inputs, keras.layers.Add()(inputs))
    with pytest.raises(ValueError, match="one input and one output is needed, this one has 2"):
        wipe(double, X, y)
