from __future__ import annotations

import itertools

import numpy as np
import pytest

from autokit._backend import tf
from autokit.nas.strategies.policy import Policy, _padded


def test_probabilities_of_all_sequences_sum_to_one():
    """The second decision has as many options as the first says."""
    policy, total = Policy(0, units=8), 0.0
    for first in range(3):
        for second in range(first + 1):
            total += np.exp(policy.log_probability([first, second], [3, first + 1]))
    assert total == pytest.approx(1.0, abs=1e-5)


def test_steps_and_whole_sequences_agree():
    policy, choices, options = Policy(1, units=8), [2, 0, 4], [3, 2, 5]
    state, total = policy.start(), 0.0
    for choice, n in zip(choices, options, strict=True):
        probabilities, state = policy.step(state, n)
        assert probabilities.shape == (n,)
        total += np.log(probabilities[choice])
        state = policy.decided(state, choice)
    assert policy.log_probability(choices, options) == pytest.approx(total, abs=1e-5)


def test_padding_counts_for_nothing():
    policy = Policy(0, units=8)
    alone = policy.log_probability([1], [4])
    together, _ = policy._program.judge(policy._params, *_padded([[1], [2, 3]], [[4], [3, 5]]))
    assert float(together[0]) == pytest.approx(alone, abs=1e-6)


def test_expected_gradient_of_reinforce_is_that_of_the_expected_reward():
    """Summed over all sequences with their probabilities, against finite differences."""
    policy = Policy(3, units=4)
    sequences = list(itertools.product(range(2), range(3)))
    rewards = np.random.default_rng(0).normal(size=len(sequences))
    options = [[2, 3]] * len(sequences)
    tensors = _padded(sequences, options)
    bias = policy._params[-1]

    def expected(params):
        total, _ = policy._program.judge(params, *tensors)
        return float(np.exp(total) @ rewards)

    p = np.exp(policy._program.judge(policy._params, *tensors)[0])
    with tf.GradientTape() as tape:
        tape.watch(policy._params)
        total, _ = policy._program.judge(policy._params, *tensors)
        objective = tf.reduce_sum(tf.constant(p * rewards, tf.float32) * total)
    gradient = np.asarray(tape.gradient(objective, policy._params)[-1])
    for place in range(3):
        move = np.zeros(bias.shape, "float32")
        move[place] = 0.05
        up, down = ([*policy._params[:-1], bias + s * move] for s in (1, -1))
        slope = (expected(up) - expected(down)) / 0.1
        assert gradient[place] == pytest.approx(slope, abs=2e-3)


def test_what_is_rewarded_becomes_likelier_without_tracing_again():
    policy = Policy(0, units=8, learning_rate=0.03)
    before = policy.log_probability([1, 2], [3, 3])
    policy.update([[1, 2]], [[3, 3]], [1.0])
    n_traces = policy._program.update.experimental_get_tracing_count()
    for _ in range(20):
        policy.update([[1, 2], [0, 0, 1]], [[3, 3], [3, 3, 2]], [1.0, -1.0])
    assert policy.log_probability([1, 2], [3, 3]) > before + 0.5
    assert policy.log_probability([0, 0, 1], [3, 3, 2]) < -np.log(18)
    assert policy._program.update.experimental_get_tracing_count() == n_traces == 1


def test_entropy_alone_makes_it_uniform():
    policy = Policy(2, units=8, learning_rate=0.03, entropy_weight=1.0)
    for _ in range(60):
        policy.update([[0]], [[4]], [0.0])
    assert policy.step(policy.start(), 4)[0] == pytest.approx(np.full(4, 0.25), abs=5e-3)
