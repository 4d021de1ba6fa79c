"""Tuners: Optuna's samplers as they are, keras-tuner's oracles behind the same seam."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autokit.names import by_name
from autokit.tuning.novelty import NewPoints
from autokit.tuning.space import Space


@dataclass(frozen=True)
class Task:
    """What a tuner may know of the search that it serves.

    Attributes
    ----------
    space : Space
    n_trials : int
    n_objectives : int
    max_epochs : int or None
        Most epochs of a fit, where the estimator counts them.
    seed : int
    storage : path, URL or None
        Where the search keeps its trials.
    """

    space: Space
    n_trials: int
    n_objectives: int
    max_epochs: int | None
    seed: int
    storage: Any = None


TPE_STARTUP = 5  # random trials before it learns
GIVEN_UP = "given up"  # user attribute of a trial that was begun in vain, and is no result


class Exhausted(Exception):
    """The tuner has no further point to propose."""


class Wait(Exception):
    """The tuner must first hear more of the trials that run."""


# (number of the trial) -> an Optuna sampler for it
SamplerMaker = Callable[[int], Any]


def make_tuner(tuner: Any, task: Task) -> SamplerMaker:
    """What gives each trial its sampler, from a name or an instance.

    Optuna's samplers keep what they know in the study. One that is named is made anew for every
    trial, seeded by the search's seed and the trial's number: a search that was interrupted goes
    on as if it had not been. It proposes no point twice (see `autokit.tuning.novelty`).

    An instance does as it likes; each search begins with a copy of it, and one that goes on from
    a storage with random numbers that were not used before.

    Parameters
    ----------
    tuner : str, optuna.samplers.BaseSampler or keras_tuner.Oracle
    task : Task

    Raises
    ------
    ValueError
        No tuner of that name.
    ImportError
        The tuner needs a package that is not installed; the message names it.
    """
    import optuna

    if isinstance(tuner, optuna.samplers.BaseSampler):
        return _instance(tuner)
    if hasattr(tuner, "create_trial"):
        from autokit.tuning.oracles import oracle_sampler

        return oracle_sampler(tuner, task)
    instead = "an optuna sampler or a keras-tuner oracle"
    return by_name("tuner", tuner, TUNERS, instead)(task)


def _instance(tuner: Any) -> SamplerMaker:
    tuner = copy.deepcopy(tuner)
    is_new = True

    def maker(number: int) -> Any:
        nonlocal is_new
        if is_new and number > 0:
            tuner.reseed_rng()
        is_new = False
        return tuner

    return maker


def is_keras_tuners(tuner: Any) -> bool:
    """Whether a tuner is one of keras-tuner's, by name or instance."""
    if isinstance(tuner, str):
        return tuner in ("bayesian", "grid", "hyperband", "random")
    return any(kind.__name__ == "Oracle" for kind in type(tuner).__mro__)


def _optuna_tuner(
    make: Callable[[int, Task], Any], *, counts_pruned: bool = True
) -> Callable[[Task], SamplerMaker]:
    def maker(task: Task) -> SamplerMaker:
        make(0, task)  # what is missing is said before any training

        def for_trial(number: int) -> Any:
            seed = derived_seed(task.seed, number)
            chance = _make("RandomSampler", seed=derived_seed(task.seed, number, 1))
            shows_pruned = counts_pruned and task.n_objectives == 1
            return NewPoints(make(seed, task), task.space, chance, shows_pruned)

        return for_trial

    return maker


def _keras_tuner(name: str) -> Callable[[Task], SamplerMaker]:
    def maker(task: Task) -> SamplerMaker:
        from autokit.tuning.oracles import named_oracle, oracle_sampler

        return oracle_sampler(named_oracle(name, task), task)

    return maker


def _tpe(seed: int, task: Task):
    import optuna

    # measured on searches of 30 trials (benchmarks/tuning_quality.py, on other seeds): to begin
    # early, and to call a fifth of the trials good, where Optuna's own are 10 and a tenth
    settings: dict = {"n_startup_trials": TPE_STARTUP, "multivariate": True}
    settings["group"] = any(entry.when for entry in task.space)
    if "gamma" in inspect.signature(optuna.samplers.TPESampler).parameters:  # until Optuna 6
        settings["gamma"] = _good_trials
    return _make("TPESampler", seed=seed, **settings)


def _good_trials(n_trials: int) -> int:
    return min(25, max(1, n_trials // 5))


def _gp(seed: int, task: Task):
    _need("torch", "gp")
    return _make("GPSampler", seed=seed, deterministic_objective=False)


def _cmaes(seed: int, task: Task):
    return _make("CmaEsSampler", seed=seed)


def _nsga2(seed: int, task: Task):
    population = max(4, min(50, task.n_trials // 5))
    return _in_order(_make("NSGAIISampler", seed=seed, population_size=population))


def _in_order(sampler: Any) -> Any:
    """Parents in the order of the study; Optuna's is another when they are selected than later."""
    parents = sampler.get_parent_population

    def in_order(study, generation: int) -> list:
        return sorted(parents(study, generation), key=lambda trial: trial.number)

    sampler.get_parent_population = in_order
    return sampler


def _make(name: str, **settings):
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        for category in (ExperimentalWarning, FutureWarning):  # of settings that we know
            warnings.simplefilter("ignore", category)
        return getattr(samplers, name)(**settings)


def _need(package: str, extra: str) -> None:
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise ImportError(
            f"tuner={extra!r} needs {package}, which is not installed: pip install "
            f"'autokit[{extra}]', or choose another tuner."
        )


def derived_seed(*parts: int) -> int:
    """A seed of its own for each tuple of numbers."""
    import numpy as np

    return int(np.random.SeedSequence(parts).generate_state(1)[0])


TUNERS: dict[str, Callable[[Task], SamplerMaker]] = {
    "bayesian": _keras_tuner("bayesian"),
    "cmaes": _optuna_tuner(_cmaes),
    "gp": _optuna_tuner(_gp),
    "grid": _keras_tuner("grid"),
    "hyperband": _keras_tuner("hyperband"),
    "nsga2": _optuna_tuner(_nsga2),
    "random": _keras_tuner("random"),
    "tpe": _optuna_tuner(_tpe, counts_pruned=False),  # it ranks them itself
}
