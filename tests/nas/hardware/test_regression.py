import numpy as np
import pytest

from autokit.nas.hardware.regression import Features, gaussian_process, lookup_table


def one_hot(rng, n, d=4, k=3):
    picks = rng.integers(k, size=(n, d))
    return np.eye(k)[picks].reshape(n, -1)


def features(codes, simplified=None, costs=None):
    empty = codes[:, :0]
    return Features(
        codes, empty if simplified is None else simplified, empty if costs is None else costs
    )


def test_a_table_recovers_an_additive_latency():
    rng = np.random.default_rng(0)
    codes = one_hot(rng, 60)
    times = rng.uniform(0, 3, size=12)
    ms = 0.5 + codes @ times
    learned = lookup_table.learn(features(codes), ms)
    fresh = one_hot(rng, 100)
    np.testing.assert_allclose(
        lookup_table.answer(learned, features(fresh)), 0.5 + fresh @ times, rtol=0.02
    )
    assert (learned["times"] >= 0).all()
    # only differences within a decision can be told apart
    found = learned["times"].reshape(4, 3) - learned["times"].reshape(4, 3)[:, :1]
    wanted = times.reshape(4, 3) - times.reshape(4, 3)[:, :1]
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_a_process_learns_what_adds_up_and_what_does_not():
    rng = np.random.default_rng(1)
    codes, fresh = one_hot(rng, 80), one_hot(rng, 200)
    times = rng.uniform(0, 3, size=12)

    def latency(c):
        return 5 + c @ times - 2.0 * c[:, 0] * c[:, 3]

    process = gaussian_process.learn(features(codes), latency(codes))
    table = lookup_table.learn(features(codes), latency(codes))
    wrong = [
        np.sqrt(np.mean((answer(learned, features(fresh)) - latency(fresh)) ** 2))
        for answer, learned in (
            (gaussian_process.answer, process),
            (lookup_table.answer, table),
        )
    ]
    assert wrong[0] < 0.5 * wrong[1]


def test_costs_tell_latency_from_ten_rows():
    rng = np.random.default_rng(2)
    codes, fresh = one_hot(rng, 10), one_hot(rng, 100)
    flops = rng.uniform(1, 4, size=12)

    def rows(c):
        return features(c, costs=np.log(c @ flops)[:, None])

    learned = gaussian_process.learn(rows(codes), 3.0 * codes @ flops)
    got = gaussian_process.answer(learned, rows(fresh))
    assert np.corrcoef(got, fresh @ flops)[0, 1] > 0.98


def test_equal_latencies_are_answered_with_the_same():
    codes = one_hot(np.random.default_rng(3), 8)
    for method in (gaussian_process, lookup_table):
        learned = method.learn(features(codes), np.full(8, 2.0))
        np.testing.assert_allclose(method.answer(learned, features(codes)), 2.0, rtol=0.05)


def test_the_gradient_of_the_posterior_agrees_with_differences():
    from scipy.optimize import check_grad

    rng = np.random.default_rng(4)
    codes = one_hot(rng, 15)
    X, sizes, smooth = gaussian_process._columns(features(codes, codes[:, ::-1]))
    parts = gaussian_process._parts(X, X, sizes, smooth)
    prior = np.array([gaussian_process.LINEAR] * 2 + [(-1.0, 3.0), (0.5, 0.7), (-3.0, 2.5)])
    y = rng.normal(size=15)

    def value(scales):
        return gaussian_process.negative_log_posterior(scales, parts, y, prior)[0]

    def slope(scales):
        return gaussian_process.negative_log_posterior(scales, parts, y, prior)[1]

    for _ in range(3):
        assert check_grad(value, slope, rng.normal(size=5) * 0.5) == pytest.approx(0, abs=1e-3)
