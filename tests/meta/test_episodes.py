"""Tasks drawn from rows: what they are made of, how often, and images that are turned."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import tf
from autokit.meta.episodes import Pool, answers_of, check_counts, gathered, task_of
from autokit.meta.protocols import Layout

LAYOUT = Layout(n_way=3, k_shot=2, n_query=3)
# unequal classes, between numbers that are none, in no order
LABELS = np.random.default_rng(0).permutation(np.repeat([0, 2, 3, 7, 9], [5, 6, 8, 12, 30]))


def drawn(n=500, turns=1, classes=None, seed=0, layout=LAYOUT):
    return Pool(LABELS, classes, turns).draw(np.random.default_rng(seed), layout, n)


@pytest.mark.parametrize("turns", [1, 4])
def test_tasks_hold_each_class_and_row_once(turns):
    places = drawn(turns=turns)
    assert places.shape == (500, 15)
    assert places.dtype == np.int32
    assert places.min() >= 0
    assert places.max() < turns * len(LABELS)
    for task in places:
        assert len(set(task)) == len(task)
        turned = LABELS[task % len(LABELS)] + 100 * (task // len(LABELS))
        support = turned[:6].reshape(3, 2)
        query = turned[6:].reshape(3, 3)
        np.testing.assert_array_equal(support, np.repeat(support[:, :1], 2, axis=1))
        np.testing.assert_array_equal(query, np.repeat(support[:, :1], 3, axis=1))
        assert len(set(support[:, 0])) == 3


def test_all_rows_of_a_class_may_be_needed():
    layout = Layout(n_way=5, k_shot=2, n_query=3)
    places = drawn(n=20, layout=layout)
    smallest = np.flatnonzero(LABELS == 0)
    for task in places:
        assert set(smallest) <= set(task)


def test_draws_are_the_generators():
    np.testing.assert_array_equal(drawn(seed=3), drawn(seed=3))
    assert not np.array_equal(drawn(seed=3), drawn(seed=4))


def test_many_draws_in_pieces_hold_the_same_rules(monkeypatch):
    monkeypatch.setattr("autokit.meta.episodes._KEYS", 64)  # random numbers of one piece
    for task in drawn(n=50):
        assert len(set(task)) == len(task)
        assert len(set(LABELS[task])) == 3


def chi_square(counts):
    """In standard deviations from what uniform counts give."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    return (np.square(counts - expected).sum() / expected - freedom) / np.sqrt(2 * freedom)


def test_classes_their_order_and_rows_are_uniform():
    places = drawn(n=20_000, turns=4)
    classes = LABELS[places[:, ::2][:, :3] % len(LABELS)] * 4 + places[:, :6:2] // len(LABELS)
    for position in range(3):
        _, counts = np.unique(classes[:, position], return_counts=True)
        assert counts.size == 20
        assert abs(chi_square(counts)) < 4
    rows = places % len(LABELS)
    for label, n_rows in ((0, 5), (9, 30)):
        for part in (rows[:, :6], rows[:, 6:]):
            _, counts = np.unique(part[LABELS[part] == label], return_counts=True)
            assert counts.size == n_rows
            # rows of one task exclude each other: below uniform's spread, never above
            assert chi_square(counts) < 4


def test_tasks_are_of_the_classes_asked_for():
    places = drawn(classes=np.array([2, 7, 9]))
    assert set(LABELS[places].ravel()) == {2, 7, 9}
    pool = Pool(LABELS, np.array([2, 7]), turns=4)
    assert pool.n_classes == 8
    assert pool.classes.tolist() == [2, 7]


@pytest.mark.parametrize("turns", [1, 4])
@pytest.mark.parametrize("classes", [None, np.array([2, 3, 9])])
def test_mixed_rows_come_with_their_codes(turns, classes):
    pool = Pool(LABELS, classes, turns)
    places, codes = pool.mixed(np.random.default_rng(0), LAYOUT, 400)
    assert places.shape == codes.shape == (400, 15)
    assert places.dtype == codes.dtype == np.int32
    turn = places // len(LABELS)
    known = pool.classes.tolist()
    expected = [known.index(label) for label in LABELS[places % len(LABELS)].ravel()]
    np.testing.assert_array_equal(codes.ravel(), np.array(expected) * turns + turn.ravel())
    assert set(codes.ravel()) == set(range(pool.n_classes))
    # every row alike, so larger classes more often
    _, counts = np.unique(places, return_counts=True)
    assert counts.size == np.isin(LABELS, known).sum() * turns
    assert abs(chi_square(counts)) < 4


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 2)])
def test_turned_places_give_turned_images(shape):
    rows = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    places = np.array([[0, 6, 12, 18], [4, 9, 14, 19]], np.int32)
    found = gathered(tf.constant(rows), tf.constant(places), 4).numpy()
    for images, numbers in zip(found, places, strict=True):
        for image, place in zip(images, numbers, strict=True):
            np.testing.assert_array_equal(image, np.rot90(rows[place % 5], place // 5))


def test_places_without_turns_give_any_rows():
    rows = np.arange(12.0).reshape(6, 2)
    found = gathered(tf.constant(rows), tf.constant([[5, 0], [2, 2]]), 1).numpy()
    np.testing.assert_array_equal(found, rows[[[5, 0], [2, 2]]])


def test_a_task_is_its_support_and_its_queries():
    x = tf.constant(np.arange(30.0).reshape(2, 15))
    classes = task_of(LAYOUT, x, None)
    for task in (classes, task_of(LAYOUT, x, x)):
        np.testing.assert_array_equal(np.hstack([task.support_x, task.query_x]), x)
        assert task.support_x.shape == (2, 6)
    np.testing.assert_array_equal(classes.support_y, [[0, 0, 1, 1, 2, 2]] * 2)
    np.testing.assert_array_equal(classes.query_y, [[0, 0, 0, 1, 1, 1, 2, 2, 2]] * 2)
    np.testing.assert_array_equal(classes.query_y, answers_of(LAYOUT, 2))


@pytest.mark.parametrize(
    ("labels", "counts", "turns", "message"),
    [
        ([1, 2], [9, 9], 1, "n_way is 3, but y has 2 classes to draw from; lower n_way"),
        (
            ["a", "b", "c"], [5, 4, 1], 1,
            r"2 \+ 3 = 5, but the class 'c' of y has 1 sample \(2 of 3 classes have fewer than 5\)",
        ),
        (["a"], [4], 4, r"the class 'a' of y has 4 samples \(1 of 1"),
    ],
)  # fmt: skip
def test_too_few_classes_and_rows_are_counted(labels, counts, turns, message):
    with pytest.raises(ValueError, match=message):
        check_counts(labels, np.array(counts), LAYOUT, "y", turns)
