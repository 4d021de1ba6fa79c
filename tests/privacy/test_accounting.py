"""Figures of the accounting, against published ones and closed forms."""

from __future__ import annotations

import math
import sys
import time

import pytest

from autokit.privacy import DifferentialPrivacy, Ledger, epsilon_spent, noise_multiplier
from autokit.privacy import accounting as module

TUTORIAL = {"n_steps": 15 * 60000 // 256, "sampling_rate": 256 / 60000}


def budget(epsilon=1.0, delta=1e-5, accountant="rdp"):
    return DifferentialPrivacy(epsilon, delta, accountant=accountant)


def test_epsilon_of_opacus_test_suite():
    # pytorch/opacus, opacus/tests/accountants_test.py, test_rdp_accountant
    spent = epsilon_spent(budget(), noise_multiplier=1.5, n_steps=2250, sampling_rate=0.04)
    assert spent == pytest.approx(7.32911117143, rel=1e-4)


def test_noise_of_opacus_test_suite():
    # the same file, test_get_noise_multiplier: 1.4253, which stops 0.01 to 0.1 of epsilon early
    noise = noise_multiplier(budget(8.0), n_steps=2250, sampling_rate=0.04)
    assert noise == pytest.approx(1.425307617, rel=0.01)
    assert noise <= 1.4254


def test_epsilon_of_the_tutorial_of_tensorflow_privacy():
    # 1.18 or 1.19, for noise 1.3: by the conversion of Mironov (2017), proposition 3, on which
    # later ones improve
    library = module.dp_accounting()
    orders = [1 + x / 10.0 for x in range(1, 100)] + list(range(12, 64))
    event = library.PoissonSampledDpEvent(256 / 60000, library.GaussianDpEvent(1.3))
    divergences = [
        library.rdp.RdpAccountant([order]).compose(event, TUTORIAL["n_steps"])._rdp[0]
        for order in orders
    ]
    old = min(d + math.log(1e5) / (a - 1) for a, d in zip(orders, divergences, strict=True))
    assert old == pytest.approx(1.19, abs=0.01)
    renyi = epsilon_spent(budget(), noise_multiplier=1.3, **TUTORIAL)
    tight = epsilon_spent(budget(accountant="pld"), noise_multiplier=1.3, **TUTORIAL)
    assert 0.8 < tight < renyi < old


@pytest.mark.parametrize("n_steps", [1, 16])
def test_without_sampling_it_is_the_gaussian_mechanism(n_steps):
    # n steps of noise z are one of noise z / sqrt(n)
    exact = module.dp_accounting().get_epsilon_gaussian(5.0 / math.sqrt(n_steps), 1e-5)
    steps = {"noise_multiplier": 5.0, "n_steps": n_steps, "sampling_rate": 1.0}
    assert epsilon_spent(budget(accountant="pld"), **steps) == pytest.approx(exact, rel=1e-3)
    assert exact <= epsilon_spent(budget(), **steps) < 1.3 * exact


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
@pytest.mark.parametrize(("epsilon", "rate"), [(0.3, 0.02), (2.0, 1.0)])
def test_the_noise_is_the_smallest_within_the_budget(accountant, epsilon, rate):
    privacy = budget(epsilon, accountant=accountant)
    steps = {"n_steps": 40, "sampling_rate": rate}
    noise = noise_multiplier(privacy, **steps)
    assert epsilon_spent(privacy, noise_multiplier=noise, **steps) <= epsilon
    assert epsilon_spent(privacy, noise_multiplier=0.999 * noise, **steps) > epsilon


@pytest.mark.parametrize("epsilon", [100.0, 1e3, 1e5])
def test_a_budget_that_promises_nothing_needs_no_table_of_millions(epsilon):
    """One Gaussian step: epsilon is at most 1 / (2 z^2) + sqrt(2 log(1 / delta)) / z."""
    privacy = DifferentialPrivacy(epsilon, 1e-5)
    noise = noise_multiplier(privacy, n_steps=1, sampling_rate=1.0)
    spent = epsilon_spent(privacy, noise_multiplier=noise, n_steps=1, sampling_rate=1.0)
    bound = 0.5 / noise**2 + math.sqrt(2 * math.log(1e5)) / noise
    assert 0.9 * bound < spent <= min(bound * 1.001, epsilon)


def test_renyi_divergences_add_up_as_in_the_package():
    library = module.dp_accounting()
    accountant = library.rdp.RdpAccountant()
    ledger = Ledger(budget())
    for noise, rate, n_steps in ((2.0, 0.1, 20), (0.7, 0.01, 300), (5.0, 1.0, 3)):
        event = library.PoissonSampledDpEvent(rate, library.GaussianDpEvent(noise))
        accountant.compose(event, n_steps)
        ledger = ledger.after(noise_multiplier=noise, sampling_rate=rate, n_steps=n_steps)
        assert ledger.epsilon == pytest.approx(accountant.get_epsilon(1e-5))


def test_answers_are_remembered():
    steps = {"n_steps": 40, "sampling_rate": 0.02}
    noise = noise_multiplier(budget(0.3, accountant="pld"), **steps)
    clock = time.perf_counter()
    assert noise_multiplier(budget(0.3, accountant="pld"), **steps) == noise
    assert time.perf_counter() - clock < 0.05


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_a_ledger_adds_up_what_steps_of_any_kind_spend(accountant):
    privacy = budget(2.0, accountant=accountant)
    one, other = (
        {"noise_multiplier": 3.0, "sampling_rate": 0.1},
        {"noise_multiplier": 2.0, "sampling_rate": 0.02},
    )
    ledger = Ledger(privacy)
    assert ledger.epsilon == 0
    ledger = ledger.after(**one, n_steps=5).after(**one, n_steps=5)
    assert len(ledger.phases) == 1 and ledger.n_steps == 10
    assert ledger.epsilon == epsilon_spent(privacy, n_steps=10, **one)
    mixed = ledger.after(**other, n_steps=7)
    parts = [ledger.epsilon, epsilon_spent(privacy, n_steps=7, **other)]
    assert max(parts) <= mixed.epsilon < sum(parts)
    assert mixed.epsilon <= mixed.epsilon_bound <= 1.02 * mixed.epsilon
    reverse = Ledger(privacy).after(**other, n_steps=7).after(**one, n_steps=10)
    assert reverse.epsilon == pytest.approx(mixed.epsilon, rel=1e-6)


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_a_ledger_affords_exactly_what_fits(accountant):
    privacy = budget(1.0, accountant=accountant)
    kind = {"noise_multiplier": 2.0, "sampling_rate": 0.05}
    first = Ledger(privacy).after(noise_multiplier=4.0, sampling_rate=0.1, n_steps=10)
    ledger = first
    while ledger.affords(**kind):
        ledger = ledger.after(**kind)
    assert ledger.epsilon <= 1.0 < ledger.after(**kind).epsilon
    n_steps = ledger.phases[-1].n_steps
    assert first.affords(**kind, n_steps=n_steps)
    assert not first.affords(**kind, n_steps=n_steps + 1)


def test_what_was_planned_is_afforded():
    privacy = budget(0.3, accountant="pld")
    kind = {"sampling_rate": 0.02}
    kind["noise_multiplier"] = noise_multiplier(privacy, n_steps=40, **kind)
    ledger = Ledger(privacy).after(**kind, n_steps=30)
    assert ledger.affords(**kind, n_steps=10)
    assert not ledger.after(**kind, n_steps=10).affords(**kind)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"noise_multiplier": 0.0}, "'noise_multiplier'.*above 0"),
        ({"sampling_rate": 1.5}, r"'sampling_rate'.*range \(0, 1\]; got 1.5"),
        ({"n_steps": -1}, "'n_steps'.*at least 0; got -1"),
    ],
)
def test_errors(changes, words):
    steps = {"noise_multiplier": 1.0, "sampling_rate": 0.5, "n_steps": 1} | changes
    with pytest.raises(ValueError, match=words):
        epsilon_spent(budget(), **steps)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ImportError, match=r"pip install 'autokit\[privacy\]'"):
        module.dp_accounting()


def test_nothing_is_logged(caplog):
    epsilon_spent(budget(), noise_multiplier=5.0, n_steps=10, sampling_rate=0.5)
    assert not caplog.records
