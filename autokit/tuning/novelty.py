"""What every sampler of a name is given besides: new points only, and pruned trials too."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from autokit.tuning.dimensions import Categorical, Float, Int
from autokit.tuning.space import Space, distribution

N_FROM_SAMPLER = 3  # draws, before chance decides
N_BY_CHANCE = 100


class NewPoints:
    """An Optuna sampler that draws again what was tried before.

    Folds and seeds stay the same during a search, so that a point that comes again would give the
    same score again: a tuner of small spaces spends most of its trials on that. Here such a point
    is drawn anew, from the sampler first and at random then; when every point was tried the
    search is over.

    Parameters
    ----------
    sampler : optuna.samplers.BaseSampler
    space : Space
    chance : optuna.samplers.BaseSampler
        Draws at random.
    counts_pruned : bool, default=False
        Show the sampler pruned trials as complete ones (see `WithPruned`).

    Raises
    ------
    Exhausted
        When asked for a point of a finite space in which every point was tried.
    """

    def __init__(self, sampler: Any, space: Space, chance: Any, counts_pruned: bool = False):
        self._sampler, self._space, self._chance = sampler, space, chance
        self._counts_pruned = counts_pruned

    def infer_relative_search_space(self, study, trial) -> dict[str, Any]:
        """The whole space: a point is drawn at once."""
        return {entry.name: distribution(entry.dimension) for entry in self._space}

    def sample_relative(self, study, trial, search_space) -> dict[str, Any]:
        """Draw a point."""
        tried = _tried(study, trial)
        if self._counts_pruned:
            study = WithPruned(study)
        for _ in range(N_FROM_SAMPLER):
            point = _drawn(self._sampler, self._space, study, trial)
            if _key(point) not in tried:
                return point
        for _ in range(N_BY_CHANCE):
            point = _drawn(self._chance, self._space, study, trial)
            if _key(point) not in tried:
                return point
        if self._space.n_points == math.inf:
            return point
        return self._what_is_left(tried)

    def _what_is_left(self, tried: set) -> dict[str, Any]:
        from autokit.tuning.samplers import Exhausted

        for point in self._space.points():
            if _key(point) not in tried:
                return point
        raise Exhausted

    def sample_independent(self, study, trial, name, param_distribution) -> Any:
        """Draw a single value; a point is drawn at once, so that nobody asks."""
        return self._sampler.sample_independent(study, trial, name, param_distribution)

    def before_trial(self, study, trial) -> None:
        """A trial begins."""
        self._sampler.before_trial(study, trial)

    def after_trial(self, study, trial, state, values) -> None:
        """A trial is over."""
        self._sampler.after_trial(study, trial, state, values)


class WithPruned:
    """A study that shows pruned trials as complete, for samplers that learn from no others.

    With pruning, most trials may end early; a sampler that does not hear of them stays at random
    draws. A pruned trial has the mean score that it had so far, and at the least the worst score
    of a complete one: after few epochs it may be far below anything that a finished trial gives.

    Parameters
    ----------
    study : optuna.Study
        With one objective that is maximised.
    """

    def __init__(self, study: Any):
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Any = None, **_: Any) -> list:
        """As a study's; `deepcopy` is not asked for by samplers, and not done."""
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        scores = [trial.value for trial in trials if trial.state == TrialState.COMPLETE]
        if scores:
            least = min(scores)
            trials = [_as_complete(t, least) if t.intermediate_values else t for t in trials]
        return [trial for trial in trials if states is None or trial.state in states]

    _get_trials = get_trials


def _as_complete(trial: Any, least: float) -> Any:
    from optuna.trial import TrialState

    if trial.state != TrialState.PRUNED:
        return trial
    last = trial.intermediate_values[max(trial.intermediate_values)]
    trial = copy.copy(trial)
    trial.state, trial.values = TrialState.COMPLETE, [max(last, least)]
    return trial


class _Draw:
    """What a space asks for its values; answers as a trial of Optuna does."""

    def __init__(self, sampler, study, trial):
        self._sampler, self._study, self._trial = sampler, study, trial
        known = sampler.infer_relative_search_space(study, trial)
        self._relative = sampler.sample_relative(study, trial, known)

    def suggest_float(self, name, low, high, **settings) -> float:
        return self._suggest(name, Float(low, high, **settings))

    def suggest_int(self, name, low, high, **settings) -> int:
        return self._suggest(name, Int(low, high, **settings))

    def suggest_categorical(self, name, choices) -> Any:
        return self._suggest(name, Categorical(choices))

    def _suggest(self, name, dimension) -> Any:
        known = distribution(dimension)
        if known.single():
            return known.to_external_repr(0) if hasattr(known, "choices") else known.low
        if name in self._relative:
            value = self._relative[name]
            if known._contains(known.to_internal_repr(value)):
                return value
        return self._sampler.sample_independent(self._study, self._trial, name, known)


def _drawn(sampler, space: Space, study, trial) -> dict[str, Any]:
    return space.suggest(_Draw(sampler, study, trial))


def _tried(study, trial) -> set:
    from autokit.tuning.samplers import GIVEN_UP

    # of all trials: what a pruner by brackets shows of the study are those of one bracket
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
    return {
        _key(other.params)
        for other in trials
        if other.number != trial.number and GIVEN_UP not in other.user_attrs
    }


def _key(point: Mapping[str, Any]) -> frozenset:
    return frozenset(point.items())
