"""A student learns what its teacher knows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris, make_moons
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from autokit import KerasClassifier, KerasRegressor, layers
from autokit._backend import tf
from autokit.compression import Distill, distill
from autokit.compression.distillation import DistillationLoss
from autokit.training.objectives import soft_cross_entropy


def _softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("from_logits", [False, True])
def test_loss_is_the_papers(from_logits):
    rng = np.random.default_rng(0)
    logits, teacher = rng.normal(size=(5, 3)), _softmax(rng.normal(size=(5, 3)))
    labels = rng.integers(0, 3, 5)
    student = _softmax(logits)
    hard = -np.log(student[np.arange(5), labels])
    target = _softmax(np.log(teacher) / 2)
    soft = -4 * (target * np.log(_softmax(logits / 2))).sum(axis=1)
    loss = DistillationLoss(weight=0.3, temperature=2.0, from_logits=from_logits)
    targets = tf.constant(np.column_stack([labels, teacher]), tf.float32)
    outputs = tf.constant(logits if from_logits else student, tf.float32)
    assert float(loss(targets, outputs)) == pytest.approx((0.7 * hard + 0.3 * soft).mean(), 1e-5)
    copy = DistillationLoss.from_config(loss.get_config())
    assert float(copy(targets, outputs)) == float(loss(targets, outputs))


def test_one_output_is_two_classes():
    p = tf.constant([[0.2], [0.9]])
    both = tf.concat([1 - p, p], axis=1)
    targets = tf.constant([[0.0, 0.6, 0.4], [1.0, 0.1, 0.9]])
    loss = DistillationLoss()
    assert float(loss(targets, p)) == pytest.approx(float(loss(targets, both)), 1e-6)
    logits = DistillationLoss(from_logits=True)
    odds = tf.math.log(p / (1 - p))
    assert float(logits(targets, odds)) == pytest.approx(float(loss(targets, p)), 1e-5)


def test_high_temperature_matches_logits():
    # Hinton et al., section 2.1: for T -> inf the gradient is the difference of centred logits
    z, v = tf.constant([[1.0, -2.0, 1.0]]), np.array([[0.5, 0.5, -1.0]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = soft_cross_entropy(
            _softmax(v).astype("float32"), z, temperature=300.0, from_logits=True
        )
    np.testing.assert_allclose(tape.gradient(loss, z), (z - v) / 3, atol=0.01)


def _tiny(shape, n):
    return layers.mlp(shape, n, output_activation="softmax", widths=(4,))


def test_the_student_comes_nearer_to_the_teacher():
    X, y = make_moons(400, noise=0.25, random_state=0)
    forest = RandomForestClassifier(random_state=0).fit(X, y)
    student = KerasClassifier(_tiny, epochs=5, random_state=0).fit(X, y)

    def distance(estimator):
        return np.abs(estimator.predict_proba(X) - forest.predict_proba(X)).mean()

    taught = distill(forest, student, X, epochs=20, weight=1.0, learning_rate=0.01)
    assert distance(taught) < 0.7 * distance(student)
    assert taught.compression_report_.metric == "accuracy"
    assert taught.model_ is not student.model_


class _Shuffled:
    """A forest that lists its classes in another order."""

    def __init__(self, forest):
        self.forest, self.order = forest, [2, 0, 1]
        self.classes_ = forest.classes_[self.order]

    def predict(self, X):
        return self.forest.predict(X)

    def predict_proba(self, X):
        return self.forest.predict_proba(X)[:, self.order]


def test_classes_in_another_order_and_an_unfitted_student():
    X, y = load_iris(return_X_y=True)
    names = np.array(["virginica", "setosa", "versicolor"])[y]
    teacher = _Shuffled(RandomForestClassifier(20, random_state=0).fit(X, names))
    student = KerasClassifier(epochs=1, random_state=0)
    taught = distill(teacher, student, X, weight=1.0, epochs=30, learning_rate=0.01)
    assert not hasattr(student, "model_")
    assert taught.score(X, names) > 0.9


def test_regression_and_training_option():
    X, y = load_diabetes(return_X_y=True)
    forest = RandomForestRegressor(30, random_state=0).fit(X, y)
    student = KerasRegressor(
        epochs=20, random_state=0, compression=Distill(teacher=forest, weight=1.0, epochs=30)
    ).fit(X, y)
    report = student.compression_report_
    assert report.metric == "R2"
    assert np.corrcoef(student.predict(X), forest.predict(X))[0, 1] > 0.85


def test_bad_input():
    X, y = load_iris(return_X_y=True)
    student = KerasClassifier(epochs=1, random_state=0).fit(X, y)
    forest = RandomForestClassifier(5).fit(X, y == 0)
    with pytest.raises(ValueError, match=r"teacher knows the classes \[.*the same"):
        distill(forest, student, X, y)
    with pytest.raises(ValueError, match="teacher must be a fitted estimator with predict, got o"):
        distill(object(), student, X, y)
    with pytest.raises(TypeError, match="must be a fitted estimator of autokit"):
        distill(RandomForestClassifier(5).fit(X, y), object(), X, y)
