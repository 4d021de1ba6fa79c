"""A finished search as an Optuna study, whichever tuner it had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autokit.tuning.space import Space
from autokit.tuning.trial import COMPLETE, FAILED, PRUNED, Trial


def rebuilt_study(trials: Sequence[Trial], space: Space, objectives: Sequence[str]) -> Any:
    """An Optuna study in memory with the trials of a search.

    Parameters
    ----------
    trials : sequence of Trial
    space : Space
    objectives : sequence of str
        Metrics that were maximised; the values of the study's trials.

    Returns
    -------
    optuna.Study
        With a trial for each, of the same number. Its parameters are the values by entry of the
        space; the seconds, the epochs and the error are user attributes.
    """
    import optuna

    from autokit.tuning.search import quiet_optuna

    kinds = optuna.trial.TrialState
    states = {COMPLETE: kinds.COMPLETE, PRUNED: kinds.PRUNED, FAILED: kinds.FAIL}
    with quiet_optuna():
        study = optuna.create_study(directions=["maximize"] * len(objectives))
        study.add_trials(
            optuna.trial.create_trial(
                state=states[trial.status],
                values=[trial.mean(name) for name in objectives]
                if trial.status == COMPLETE
                else None,
                params=trial.values,
                distributions=space.distributions(trial.values),
                intermediate_values=dict(trial.steps),
                user_attrs={
                    "seconds": trial.seconds,
                    "epochs": trial.epochs,
                    **({} if trial.error is None else {"error": trial.error}),
                },
            )
            for trial in trials
        )
    return study
