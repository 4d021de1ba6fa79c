from __future__ import annotations

import warnings

import numpy as np
import pytest

from autokit.nas import Evaluation, MLPSpace
from autokit.nas.strategies.tpe import TPE
from autokit.testing.nas import StrategyContract, ToySpace


class TestTPE(StrategyContract):
    n_trials = 60
    must_find = False

    def make_strategy(self, space, rng):
        return TPE(space, rng)


def test_proposes_what_optuna_samples():
    """The same study by hand, with the toy's draws as parameters."""
    import optuna

    space = ToySpace(8, 8)  # too large for repetitions
    ours = TPE(space, np.random.default_rng(0))
    seed = int(np.random.default_rng(0).integers(2**31))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True
        )
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for number in range(20):
        (point,) = ours.ask(1)
        ours.tell([space.evaluate(point, number=number)])
        trial = study.ask()
        names = (".".join("8" * (i + 1)) for i in range(8))
        theirs = tuple(trial.suggest_categorical(name, range(8)) for name in names)
        study.tell(trial, space.score(theirs))
        assert point == theirs


def test_learns_from_what_it_never_asked_for():
    space = ToySpace()
    strategy = TPE(space, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    strategy.tell([space.evaluate(space.sample(rng), number=i) for i in range(60)])
    informed = np.mean([space.score(a) for a in strategy.ask(10)])
    chance = np.mean([space.score(space.sample(rng)) for _ in range(200)])
    assert informed > chance + 2


def test_conditional_decisions_have_parameters_of_their_own():
    space = MLPSpace()
    strategy = TPE(space, np.random.default_rng(0))
    for number, architecture in enumerate(strategy.ask(30)):
        score = -float(len(architecture.widths))
        strategy.tell([Evaluation(number, architecture, score, None, "complete")])
    assert np.mean([len(a.widths) for a in strategy.ask(10)]) < 2


def test_several_objectives_make_a_study_of_several():
    space = ToySpace()
    strategy = TPE(space, np.random.default_rng(0), n_initial=5)
    for number in range(20):
        (point,) = strategy.ask(1)
        values = (float(point[0]), -float(point[1]))
        strategy.tell([Evaluation(number, point, values[0], None, "complete", values=values)])
    assert len(strategy._study.directions) == 2
    assert len(strategy._study.get_trials()) >= 19


def test_violations_are_worse_than_any_score():
    space = ToySpace()
    strategy = TPE(space, np.random.default_rng(0))
    violated = []
    for number in range(40):
        (point,) = strategy.ask(1)
        violation = float(point[0] > 1)
        violated.append(violation)
        strategy.tell(
            [Evaluation(number, point, None, None, "infeasible", violation=violation)]
            if violation
            else [space.evaluate(point, number=number)]
        )
    assert np.mean(violated[20:]) < 0.4


def test_options_are_checked():
    with pytest.raises(ValueError, match="n_initial must be at least 1; got 0"):
        TPE(ToySpace(), np.random.default_rng(0), n_initial=0)
