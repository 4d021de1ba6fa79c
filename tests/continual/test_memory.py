"""Memories of rows: uniform, balanced, herded, bounded."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from autokit._backend import keras
from autokit.continual.heads import ClassHeads
from autokit.continual.learner import LearningConfig, Learnt, grown
from autokit.continual.memory import SELECTIONS, Memory, Offer, herding, unit_rows
from autokit.continual.strategies import make
from autokit.training import Batch, FitConfig, seeded


def rows_of(y, first=0):
    """Rows that are told apart by their only feature."""
    x = np.arange(first, first + len(y), dtype=np.float32)[:, None]
    return Batch(x, np.asarray(y, np.int32))


def offered(memory, batch, name, size, rng, features=None):
    """The memory after one experience."""
    selection = SELECTIONS[name]
    offer = Offer(batch, lambda: batch.x if features is None else features, size)
    both = memory.joined(batch, selection.priority(offer, rng), None)
    return both if len(both) <= size else both.take(selection.rows(both, size))


@pytest.mark.parametrize("lengths", [(40,), (10, 25, 5)])
def test_a_reservoir_is_uniform_over_all_rows_ever_offered(lengths):
    n_rows, size, n_seeds = sum(lengths), 8, 2000
    counts = np.zeros(n_rows)
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        memory = Memory.empty(rows_of([]))
        for i, length in enumerate(lengths):
            batch = rows_of(np.zeros(length), first=sum(lengths[:i]))
            memory = offered(memory, batch, "reservoir", size, rng)
        assert len(memory) == size
        counts[memory.x[:, 0].astype(int)] += 1
    assert memory.n_seen == n_rows
    # rows of one draw repel each other, which makes the statistic smaller than chi-square
    assert chisquare(counts, np.full(n_rows, n_seeds * size / n_rows)).pvalue > 0.01


def test_a_reservoir_keeps_what_its_priority_says_and_in_order():
    memory = Memory.empty(rows_of([])).joined(rows_of(np.zeros(4)), np.array([3, 1, 0, 2.0]), None)
    assert SELECTIONS["reservoir"].rows(memory, 2).tolist() == [1, 2]


@pytest.mark.parametrize("name", ["balanced", "herding"])
def test_classes_share_the_memory_equally(name):
    rng = np.random.default_rng(0)
    memory = offered(Memory.empty(rows_of([])), rows_of([0] * 30 + [1] * 3), name, 12, rng)
    assert np.bincount(memory.y).tolist() == [9, 3]
    memory = offered(memory, rows_of([2] * 30, first=33), name, 12, rng)
    assert np.bincount(memory.y).tolist() == [5, 3, 4]
    memory = offered(memory, rows_of([1] * 30, first=63), name, 12, rng)
    assert np.bincount(memory.y).tolist() == [4, 4, 4]


def test_heads_of_a_regression_share_the_memory_equally():
    y = np.column_stack([np.linspace(0, 1, 20), np.repeat([0, 1], [15, 5])]).astype(np.float32)
    batch = Batch(np.zeros((20, 1), np.float32), y)
    memory = offered(Memory.empty(batch), batch, "balanced", 8, np.random.default_rng(0))
    assert np.bincount(memory.y[:, -1].astype(int)).tolist() == [4, 4]


def by_brute_force(features, n_chosen):
    """Algorithm 4 of Rebuffi et al. 2017, word for word."""
    mean, chosen = features.mean(axis=0), []
    for k in range(1, n_chosen + 1):
        distances = [
            np.inf
            if i in chosen
            else np.linalg.norm(mean - (features[i] + features[chosen].sum(axis=0)) / k)
            for i in range(len(features))
        ]
        chosen.append(int(np.argmin(distances)))
    return chosen


@pytest.mark.parametrize("n_features", [1, 5])
def test_herding_is_the_greedy_algorithm(n_features):
    features = np.random.default_rng(n_features).normal(size=(25, n_features))
    order = herding(features, 10)
    assert order[:10].tolist() == by_brute_force(features, 10)
    # the next one is already the eleventh
    assert order[10] == by_brute_force(features, 11)[-1]
    assert sorted(order) == list(range(25))


def test_herding_ranks_each_class_by_features_of_length_one():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(20, 4)).astype(np.float32)
    y = rng.integers(0, 2, 20)
    offer = Offer(rows_of(y), lambda: features, 6)
    priority = SELECTIONS["herding"].priority(offer, rng)
    for kind in (0, 1):
        own = unit_rows(features[y == kind])
        best = np.argsort(priority[y == kind])[:6]
        assert best.tolist() == by_brute_force(own, 6)


def test_a_herded_mean_is_nearer_than_a_random_one():
    rng = np.random.default_rng(0)
    features = unit_rows(rng.normal(size=(300, 8)))
    mean = features.mean(axis=0)
    herded = np.linalg.norm(features[herding(features, 10)[:10]].mean(axis=0) - mean)
    drawn = [
        np.linalg.norm(features[rng.choice(300, 10, replace=False)].mean(axis=0) - mean)
        for _ in range(200)
    ]
    assert herded < 0.5 * min(drawn)


def test_experiences_share_the_places_of_a_class_that_comes_again():
    rng = np.random.default_rng(0)
    memory = Memory.empty(Batch(np.zeros((0, 3), np.float32), np.zeros(0, np.int32)))
    for number in range(3):
        x = rng.normal(size=(30, 3)).astype(np.float32)
        x[:, 0] = number
        memory = offered(memory, Batch(x, np.zeros(30, np.int32)), "herding", 9, rng)
    assert np.bincount(memory.x[:, 0].astype(int)).tolist() == [3, 3, 3]


def test_lengths_are_one_and_zeros_stay():
    rows = unit_rows(np.array([[[3.0, 4.0]], [[0.0, 0.0]]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]])


def network(n_units):
    with seeded(0):
        return keras.Sequential([keras.Input((1,)), keras.layers.Dense(n_units)])


def test_growth_moves_targets_and_outputs():
    heads, _ = ClassHeads().grown(0, np.array([2, 5]))
    y, outputs = np.array([0, 1, 1], np.int32), np.arange(6, dtype=np.float32).reshape(3, 2)
    memory = Memory(np.zeros((3, 1), np.float32), y, outputs, np.zeros(3), 7)
    setup = LearningConfig(make("naive"), FitConfig(epochs=1, batch_size=2), 10, 0)
    wider, places = heads.grown(0, np.array([1, 3]))
    learnt = grown(Learnt(network(2), heads, {}, memory), wider, places, 0, setup)
    # labels are 1, 2, 3, 5 now
    assert learnt.memory.y.tolist() == [1, 3, 3]
    assert np.isnan(learnt.memory.outputs[:, [0, 2]]).all()
    np.testing.assert_array_equal(learnt.memory.outputs[:, [1, 3]], outputs)
    assert learnt.memory.n_seen == 7


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_the_memory_is_bounded_and_its_bytes_are_counted(name):
    rng = np.random.default_rng(0)
    memory = Memory.empty(rows_of([]))
    for number in range(6):
        memory = offered(memory, rows_of(np.full(20, number % 4)), name, 13, rng)
        assert len(memory) <= 13
    # a float32 feature, an int32 target and a float64 priority
    assert memory.size_bytes == 13 * (4 + 4 + 8)
    outputs = np.zeros((13, 5), np.float32)
    wide = Memory(memory.x, memory.y, outputs, memory.priority)
    assert wide.size_bytes == memory.size_bytes + outputs.nbytes
