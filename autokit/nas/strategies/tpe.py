"""Optuna's tree-structured Parzen estimator over what a space draws."""

from __future__ import annotations

import contextlib
import warnings

from autokit.nas.strategies.draws import Draws, find_draws
from autokit.nas.strategies.proposals import unseen_near

REPEATS = 3
INFEASIBLE = -1e12


class TPE:
    """Let Optuna's ``TPESampler`` answer the draws of ``space.sample``.

    ::

        good, bad = densities of the decisions of the best evaluations, and of the others
        proposal  = of some draws from good, the one with the greatest good / bad

    Each draw is a categorical parameter, named by its place and by the numbers of options of all
    draws before it: where the draws of a space depend on what was drawn, so do the parameters.
    With several objectives the best are those of the first fronts. What was not asked for counts
    too, if its draws can be found.

    Parameters
    ----------
    space : SearchSpace
    rng : numpy.random.Generator
        Seeds Optuna's sampler.
    n_initial : int, default=10
        Evaluations before the densities are used (Optuna's ``n_startup_trials``).
    multivariate : bool, default=True
        Whether decisions are modelled together, or each alone.

    References
    ----------
    Bergstra, Bardenet, Bengio, Kegl, "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011,
    section 4; for several objectives Ozaki, Tanigaki, Watanabe, Onishi, GECCO 2020, as Optuna has
    them. A proposal that was made before is drawn again, up to three times, then mutated.
    """

    def __init__(self, space, rng, *, n_initial: int = 10, multivariate: bool = True):
        if n_initial < 1:
            raise ValueError(f"n_initial must be at least 1; got {n_initial}.")
        self.space, self.rng = space, rng
        self._sampler_options = {
            "n_startup_trials": n_initial,
            "multivariate": multivariate,
            "group": multivariate,
            "constant_liar": True,
            "seed": int(rng.integers(2**31)),
        }
        self._n_objectives = 1
        self._study = self._new_study(1)
        self._waiting: dict = {}
        self._seen: set = set()

    def ask(self, n: int) -> list:
        """Propose what Optuna samples."""
        return [self._propose() for _ in range(n)]

    def tell(self, evaluations) -> None:
        """Finish Optuna's trials, and add those that it never began."""
        n_objectives = max([1, *(len(e.values) for e in evaluations)])
        if n_objectives > self._n_objectives:
            self._n_objectives, self._waiting = n_objectives, {}
            self._study = self._new_study(n_objectives)
        for evaluation in evaluations:
            self._seen.add(evaluation.architecture)
            trial = self._waiting.pop(evaluation.architecture, None)
            values = self._values(evaluation)
            if trial is not None:
                with _quiet() as optuna:
                    state = optuna.trial.TrialState.FAIL if values is None else None
                    self._study.tell(trial, values, state=state)
            elif values is not None:
                self._add(evaluation.architecture, values)

    def _propose(self):
        with _quiet() as optuna:
            for _ in range(REPEATS):
                architecture, trial = self._sample(optuna)
                if architecture not in self._seen:
                    self._waiting[architecture] = trial
                    self._seen.add(architecture)
                    return architecture
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return unseen_near(self.space, architecture, self._seen, self.rng)

    def _sample(self, optuna):
        trial = self._study.ask()

        def decide(options):
            nonlocal trial
            if len(options) == 1 and trial.params:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
                trial = self._study.ask()
            return trial.suggest_categorical(_name(options), range(options[-1]))

        architecture = self.space.sample(Draws(decide, self.rng))
        return architecture, trial

    def _values(self, evaluation) -> list[float] | None:
        if evaluation.violation > 0:
            return [INFEASIBLE * (1.0 + evaluation.violation)] * self._n_objectives
        if evaluation.score is None:
            return None
        values = evaluation.values or (evaluation.score,)
        return list(values) if len(values) == self._n_objectives else None

    def _add(self, architecture, values) -> None:
        draws = find_draws(self.space, architecture, self.rng)
        if draws is None:
            return
        with _quiet() as optuna:
            names = [_name(draws.options[: i + 1]) for i in range(len(draws.options))]
            categories = (
                optuna.distributions.CategoricalDistribution(range(n)) for n in draws.options
            )
            self._study.add_trial(
                optuna.trial.create_trial(
                    params=dict(zip(names, draws.choices, strict=True)),
                    distributions=dict(zip(names, categories, strict=True)),
                    values=values,
                )
            )

    def _new_study(self, n_objectives: int):
        with _quiet() as optuna:
            sampler = optuna.samplers.TPESampler(**self._sampler_options)
            return optuna.create_study(sampler=sampler, directions=["maximize"] * n_objectives)


def _name(options) -> str:
    return ".".join(map(str, options))


@contextlib.contextmanager
def _quiet():
    """Optuna without log lines and without warnings that an option is experimental."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna
    finally:
        optuna.logging.set_verbosity(level)
