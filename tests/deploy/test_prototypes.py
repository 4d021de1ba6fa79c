"""Files that learn new classes: what LiteRT answers against the estimator's own `adapt`."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from autokit import FewShotLearner, TFLiteModel, export_tflite
from autokit._backend import keras
from autokit.deploy import ExportError
from autokit.meta import FineTune

from .conftest import mixed_table

PHONE = ("embed", "classify")
KINDS = {
    "euclidean": ("prototypical", {}),
    "cosine": ("prototypical", {"distance": "cosine"}),
    "centroids": ("finetune", {}),
}


def dense(input_shape):
    """Its embeddings lie far from 0, as those of the default encoder of images do."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(16, bias_initializer=keras.initializers.Constant(2.0), name="outputs"),
        ]
    )


def unit(input_shape):
    """Its embeddings have length 1 already."""
    network = dense(input_shape)
    network.add(keras.layers.UnitNormalization())
    return network


class Digits:
    """Digits 0 to 4 to meta-train on, five rows of each other one, and queries."""

    def __init__(self):
        X, y = load_digits(return_X_y=True)
        X = (X / 16).reshape(-1, 8, 8).astype(np.float32)
        few = np.concatenate([np.flatnonzero(y == k)[:5] for k in range(5, 10)])
        self.known = X[y < 5], y[y < 5]
        self.few = X[few], y[few]
        self.X, self.y = np.delete(X, few, axis=0)[700:], np.delete(y, few)[700:]

    def learner(self, method, encoder=dense, **options):
        learner = FewShotLearner(
            method, encoder=encoder, n_way=4, n_episodes=60, random_state=0, **options
        )
        return learner.fit(*self.known)


@pytest.fixture(scope="module")
def digits():
    return Digits()


@pytest.fixture(scope="module")
def learners(digits):
    return {name: digits.learner(method, **options) for name, (method, options) in KINDS.items()}


@pytest.fixture(scope="module")
def files(learners, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prototypes")
    return {
        name: TFLiteModel(export_tflite(learner, folder / f"{name}.tflite", signatures=PHONE).path)
        for name, learner in learners.items()
    }


def means(file, X, y):
    """All that a phone has to do to learn."""
    return np.stack([file.embed(X[y == label]).mean(axis=0) for label in np.unique(y)])


@pytest.mark.parametrize("name", KINDS)
def test_new_classes_are_learnt_as_adapt_learns_them(digits, learners, files, name):
    file, adapted = files[name], learners[name].adapt(*digits.few)
    prototypes = means(file, *digits.few)
    np.testing.assert_allclose(prototypes, adapted.prototypes_, atol=1e-4)
    expected = adapted.predict_proba(digits.X)
    np.testing.assert_allclose(file.classify(digits.X, prototypes), expected, atol=1e-4)
    # it answers for the classes of training as before
    known = learners[name].predict_proba(digits.X)
    np.testing.assert_allclose(file.predict_proba(digits.X), known, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_any_number_of_classes(digits, learners, files, name):
    file, learner = files[name], learners[name]
    shipped = file.shipped_prototypes()
    np.testing.assert_array_equal(shipped, learner.prototypes_)
    served = file.predict_proba(digits.X)
    np.testing.assert_allclose(file.classify(digits.X, shipped), served, atol=1e-4)
    # those of training and new ones together, as fit_classes
    ten = learner.adapt(*digits.known).fit_classes(*digits.few).predict_proba(digits.X)
    both = np.concatenate([shipped, means(file, *digits.few)])
    np.testing.assert_allclose(file.classify(digits.X, both), ten, atol=1e-4)
    np.testing.assert_array_equal(file.classify(digits.X[:1], shipped[:1]), [[1.0]])


def test_embeddings_of_a_cosine_are_not_normalised(digits, learners, files):
    embedded = files["cosine"].embed(digits.X[:9])
    lengths = np.linalg.norm(embedded, axis=1)
    assert lengths.min() > 1.5
    # means of rows of other lengths have other directions than means of unit vectors
    np.testing.assert_allclose(
        embedded.mean(axis=0),
        learners["cosine"].adapt(digits.X[:18], np.repeat([0, 1], 9)).prototypes_[0],
        atol=1e-5,
    )


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_an_encoder_that_normalises_itself(digits, tmp_path, distance):
    learner = digits.learner("prototypical", unit, distance=distance)
    file = TFLiteModel(export_tflite(learner, tmp_path / "m.tflite", signatures=PHONE).path)
    lengths = np.linalg.norm(file.embed(digits.X[:9]), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-5)
    expected = learner.adapt(*digits.few).predict_proba(digits.X)
    got = file.classify(digits.X, means(file, *digits.few))
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "quantization"),
    [("euclidean", "float16"), ("euclidean", "dynamic"), ("euclidean", "int8"), ("cosine", "int8")],
)
def test_quantised_files_learn_nearly_the_same(digits, learners, tmp_path, name, quantization):
    learner = learners[name]
    report = export_tflite(
        learner,
        tmp_path / "m.tflite",
        quantization=quantization,
        representative_data=digits.known[0][:300],
        signatures=PHONE,
    )
    file, adapted = TFLiteModel(report.path), learner.adapt(*digits.few)
    got = file.classify(digits.X, means(file, *digits.few))
    expected = adapted.predict_proba(digits.X)
    assert np.mean(got.argmax(axis=1) == expected.argmax(axis=1)) > 0.95
    assert np.quantile(np.abs(got - expected), 0.99) < (0.01 if quantization == "float16" else 0.1)
    # the comparison itself is float32
    np.testing.assert_array_equal(file.shipped_prototypes(), learner.prototypes_)


def test_all_signatures_in_one_file(digits, learners, files, tmp_path):
    names = ("serve", *PHONE, "train_head", "infer")
    report = export_tflite(learners["cosine"], tmp_path / "m.tflite", signatures=names)
    file = TFLiteModel(report.path)
    assert set(names) | {"head", "prototypes"} == set(file.signatures)
    prototypes = means(file, *digits.few)
    np.testing.assert_allclose(
        file.classify(digits.X, prototypes),
        files["cosine"].classify(digits.X, prototypes),
        atol=1e-6,
    )
    # the layer that is trained sees unit vectors: a step against NumPy
    X, y = digits.known[0][:40], digits.known[1][:40]
    head, features = file.head, file.embed(X)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    error = file.predict_proba(X) - np.eye(5)[y]
    file.partial_fit(X, y, learning_rate=0.5, batch_size=40)
    stepped = head["kernel"] - 0.5 * error.T @ features / 40
    np.testing.assert_allclose(file.head["kernel"], stepped, atol=1e-5)


def test_rows_with_texts_are_answered_one_by_one(tmp_path):
    table, y = mixed_table()
    table, y = table[["small", "city"]], np.arange(len(y)) % 4
    learner = FewShotLearner(
        encoder=dense, n_way=2, n_episodes=5, n_query=2, random_state=0
    ).fit(table, y)  # fmt: skip
    file = TFLiteModel(export_tflite(learner, tmp_path / "m.tflite", signatures=PHONE).path)
    few, labels = table.iloc[:12], np.arange(12) % 3
    prototypes = np.stack([file.embed(few[labels == k]).mean(axis=0) for k in range(3)])
    expected = learner.adapt(few, labels).predict_proba(table)
    np.testing.assert_allclose(file.classify(table, prototypes), expected, atol=1e-4)


def test_the_file_tells_what_it_takes(files):
    described = files["cosine"].metadata["signatures"]
    assert list(described) == ["serve", "classify", "prototypes", "embed"]
    rows, prototypes = described["classify"]["inputs"]
    (output,) = described["classify"]["outputs"]
    assert (rows["name"], rows["shape"]) == ("rows", [None, 8, 8])
    assert (prototypes["name"], prototypes["shape"]) == ("prototypes", [None, 16])
    assert (output["name"], output["shape"], output["dtype"]) == ("output", [None, None], "float32")


def test_wrong_prototypes(files):
    file, X = files["euclidean"], np.zeros((2, 8, 8))
    for wrong in (np.zeros((3, 4)), np.zeros(16), np.zeros((0, 16))):
        with pytest.raises(ValueError, match=r"must be of shape \(n_classes, 16\) for euclidean"):
            file.classify(X, wrong)
    with pytest.raises(ValueError, match="prototypes must be finite; the mean over the rows of a"):
        file.classify(X, np.full((2, 16), np.nan))


def _refused(message, model, folder, signatures=PHONE):
    with pytest.raises(ExportError, match=message) as info:
        export_tflite(model, folder / "m.tflite", signatures=signatures)
    assert "\n" not in str(info.value)
    assert list(folder.iterdir()) == []


def test_who_has_prototypes(digits, plain_model, image_classifier, tmp_path):
    cure = "method='prototypical' or FineTune.head='centroid'. has. Leave it out"
    _refused(f"which a plain model does not have; .*{cure}", plain_model, tmp_path)
    _refused("which a KerasClassifier does not have", image_classifier, tmp_path)
    for method in ("matching", "maml", FineTune(head="linear")):
        learner = digits.learner(method)
        name = type(learner.method_).__name__
        _refused(f"a FewShotLearner with the method {name} does not have", learner, tmp_path)
        with pytest.raises(AttributeError, match=f"{name} compares rows with no prototypes"):
            _ = learner.prototypes_
    path = export_tflite(image_classifier, tmp_path / "m.tflite", signatures="embed").path
    message = r"m.tflite has no signature 'classify'; export it with signatures=\('embed', 'clas"
    with pytest.raises(AttributeError, match=message):
        TFLiteModel(path).classify(digits.X, np.zeros((2, 3)))
    with pytest.raises(AttributeError, match="'prototypes'; .* or with 'classify' at least"):
        TFLiteModel(path).shipped_prototypes()


def test_answers_that_depend_on_other_rows_are_refused(digits, tmp_path):
    def encoder(input_shape):
        network = dense(input_shape)
        network.add(keras.layers.BatchNormalization())
        return network

    learner = digits.learner("prototypical", encoder, transductive=True)
    for signatures in (("serve",), PHONE):
        message = "transductive=True answers rows together, .* Set transductive=False and fit again"
        _refused(message, learner, tmp_path, signatures)


def test_a_comparison_that_is_not_the_estimators_own_is_refused(learners, tmp_path, monkeypatch):
    original = TFLiteModel.run_signature

    def wrong(self, name, *args):
        outputs = original(self, name, *args)
        return {k: v * 1.1 for k, v in outputs.items()} if name == "classify" else outputs

    monkeypatch.setattr(TFLiteModel, "run_signature", wrong)
    _refused("classify of the converted file is off by 0", learners["cosine"], tmp_path)
