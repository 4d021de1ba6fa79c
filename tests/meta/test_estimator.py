"""FewShotLearner: what it says of itself, scores, seeds, files, and its place in scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autokit import FewShotLearner
from autokit.meta import ClassDisjointKFold, FewShotScorer, FewShotWarning, Prototypical
from autokit.meta.episodes import Pool
from autokit.meta.protocols import Layout
from autokit.testing.meta import blobs, tiny_encoder

SETTINGS = {
    "encoder": tiny_encoder,
    "n_way": 3,
    "k_shot": 2,
    "n_query": 3,
    "n_episodes": 200,
    "outer_learning_rate": 0.02,
    "random_state": 0,
}
X, Y = blobs(range(10), 12, 1)
NEW_X, NEW_Y = blobs(range(100, 106), 12, 2)


@pytest.fixture(scope="module")
def learner():
    return FewShotLearner("prototypical", **SETTINGS).fit(X, Y)


def test_fit_learns_all_classes_that_it_was_given(learner):
    assert learner.classes_.tolist() == learner.meta_classes_.tolist() == list(range(10))
    assert learner.score(X, Y) > 0.7
    assert learner.n_features_in_ == 8
    assert type(learner.method_) is Prototypical
    new = learner.adapt(NEW_X[::6], NEW_Y[::6])
    assert new.classes_.tolist() == list(range(100, 106))
    assert new.meta_classes_.tolist() == list(range(10))


def test_history_has_a_value_for_each_epoch(learner):
    assert learner.n_episodes_ == 200
    assert learner.history_.keys() == {"loss", "accuracy", "episodes"}
    assert learner.history_["episodes"] == [100, 200]
    for values in learner.history_.values():
        assert len(values) == 2
    assert learner.history_["loss"][1] < learner.history_["loss"][0]


def test_labels_may_be_texts_and_keep_their_order(learner):
    names = np.array(["b", "a", "c"])[NEW_Y[:36] - 100]
    new = learner.adapt(NEW_X[:36], names)
    assert new.classes_.tolist() == ["a", "b", "c"]
    assert new.score(NEW_X[:36], names) > 0.8


def test_rows_of_unknown_classes_count_as_wrong_in_a_score(learner):
    assert learner.score(NEW_X, NEW_Y) == 0.0
    new = learner.adapt(NEW_X[:36], NEW_Y[:36])
    known = new.score(NEW_X[:36], NEW_Y[:36])
    assert new.score(NEW_X, NEW_Y) == pytest.approx(known / 2)


def test_scores_of_episodes_have_an_interval(learner):
    scores = learner.evaluate(NEW_X, NEW_Y, n_episodes=50)
    values = scores.scores
    assert values.shape == (50,)
    assert scores.mean == pytest.approx(values.mean())
    half = 1.96 * values.std(ddof=1) / np.sqrt(50)
    assert scores.half_width == pytest.approx(half)
    assert scores.interval == pytest.approx((values.mean() - half, values.mean() + half))
    assert (scores.n_way, scores.k_shot, scores.n_query) == (3, 2, 3)
    assert str(scores) == f"{values.mean():.4f} ± {half:.4f} (3-way 2-shot, 50 episodes)"
    assert not scores.transductive
    assert set(np.round(values * 9) / 9) == set(values)


def test_evaluation_is_seeded_and_may_ask_for_other_tasks(learner):
    first, again = (learner.evaluate(NEW_X, NEW_Y, n_episodes=20).scores for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = learner.evaluate(NEW_X, NEW_Y, n_episodes=20, random_state=1).scores
    assert not np.array_equal(first, other)
    more = learner.evaluate(NEW_X, NEW_Y, n_way=5, k_shot=4, n_query=1, n_episodes=20)
    assert str(more).endswith("(5-way 4-shot, 20 episodes)")
    assert np.isnan(learner.evaluate(NEW_X, NEW_Y, n_episodes=1).half_width)


def test_evaluation_is_the_score_of_learners_that_adapt(learner):
    scores = learner.evaluate(NEW_X, NEW_Y, n_episodes=3).scores
    places = Pool(NEW_Y).draw(np.random.default_rng(0), Layout(3, 2, 3), 3)
    for task, score in zip(places, scores, strict=True):
        new = learner.adapt(NEW_X[task[:6]], NEW_Y[task[:6]])
        assert new.score(NEW_X[task[6:]], NEW_Y[task[6:]]) == pytest.approx(score)


def test_classes_seen_in_training_are_warned_of(learner):
    both, labels = np.concatenate([X, NEW_X]), np.concatenate([Y, NEW_Y])
    with pytest.warns(FewShotWarning, match="10 of 16 classes, such as 0, have the labels"):
        learner.evaluate(both, labels, n_episodes=2)


def test_a_class_of_one_row_is_learnt_in_the_end_only():
    rows, labels = np.concatenate([X, NEW_X[:1]]), np.concatenate([Y, [77]])
    with pytest.warns(FewShotWarning, match="1 of 11 classes, such as 77, have 1 sample"):
        learner = FewShotLearner(**SETTINGS | {"n_episodes": 2}).fit(rows, labels)
    assert learner.classes_.tolist() == [*range(10), 77]


def test_adding_classes_fails_whole(learner):
    new = learner.adapt(NEW_X[:24], NEW_Y[:24])
    before, model = new.predict_proba(NEW_X), new.model_
    for rows, labels, message in (
        (NEW_X[:3], ["a", "b", "c"], "use one kind of label"),
        (NEW_X[:3, :5], [1, 2, 3], "X has 5 features"),
        (NEW_X[:3], [1, 2], "X has 3, y has 2"),
        (NEW_X[:3] * np.nan, [1, 2, None], "missing"),
    ):
        with pytest.raises(ValueError, match=message):
            new.fit_classes(rows, labels)
    assert new.model_ is model
    np.testing.assert_array_equal(new.predict_proba(NEW_X), before)
    assert new.fit_classes(NEW_X[24:26], [104, 104]) is new
    assert new.classes_.tolist() == [100, 101, 104]


def test_learners_of_one_training_do_not_touch_each_other(learner):
    one = learner.adapt(NEW_X[:24], NEW_Y[:24])
    two = one.adapt(NEW_X[24:48], NEW_Y[24:48])
    before = one.predict_proba(NEW_X)
    two.fit_classes(NEW_X[48:], NEW_Y[48:])
    np.testing.assert_array_equal(one.predict_proba(NEW_X), before)
    assert one.classes_.tolist() == [100, 101]
    assert two.classes_.tolist() == [102, 103, 104, 105]


def test_a_second_fit_is_as_the_first(learner):
    again = clone(learner).fit(NEW_X, NEW_Y).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(NEW_X), learner.predict_proba(NEW_X))


def test_searches_and_scores_by_classes_that_were_not_seen():
    short = SETTINGS | {"n_episodes": 20}
    grid = [{"method__distance": ["cosine"], "outer_learning_rate": [1e-9]},
            {"method__distance": ["euclidean"], "outer_learning_rate": [0.02]}]  # fmt: skip
    scorer = FewShotScorer(n_way=3, n_episodes=20)
    search = GridSearchCV(
        FewShotLearner(Prototypical(), **short), grid, cv=ClassDisjointKFold(2), scoring=scorer
    ).fit(X, Y)
    assert search.best_params_["outer_learning_rate"] == 0.02
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    scaled = make_pipeline(StandardScaler(), "passthrough", FewShotLearner(**short))
    found = cross_val_score(scaled, X, Y, cv=ClassDisjointKFold(2), scoring=scorer)
    assert found.shape == (2,)
    train, test = next(ClassDisjointKFold(2).split(X, Y))
    scaler = StandardScaler().fit(X[train])
    learner = FewShotLearner(**short).fit(scaler.transform(X[train]), Y[train])
    scores = learner.evaluate(scaler.transform(X[test]), Y[test], n_episodes=20)
    assert found[0] == pytest.approx(scores.mean)
    # a search is scored by the learner that it chose
    assert scorer(search, NEW_X, NEW_Y) == scorer(search.best_estimator_, NEW_X, NEW_Y)


def test_a_fold_of_too_few_classes_says_so():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="n_way is 3, but y has 2 classes"):
            cross_val_score(
                FewShotLearner(**SETTINGS | {"n_episodes": 1}),
                X, Y, cv=ClassDisjointKFold(5), scoring=FewShotScorer(), error_score="raise",
            )  # fmt: skip
