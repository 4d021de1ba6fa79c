"""Hyperband's epochs: what it sets, and training that goes on where a lower rung ended."""

from __future__ import annotations

from typing import Any

from autokit.tuning.dimensions import Int
from autokit.tuning.space import Entry, Space

EPOCHS = "epochs"  # the entry's name


def sets_epochs(tuner: Any) -> bool:
    """Whether a tuner decides how long each trial trains: keras-tuner's Hyperband."""
    kinds = {kind.__name__ for kind in type(tuner).__mro__}
    return tuner == "hyperband" if isinstance(tuner, str) else "HyperbandOracle" in kinds


def with_epochs(space: Space, network: Any, prefix: str, tuner: Any) -> Space:
    """The space, and the epochs that Hyperband sets.

    Parameters
    ----------
    space : Space
    network : KerasEstimator or None
        The estimator that trains in epochs.
    prefix : str
        Of its parameters, ``step__`` inside a pipeline.
    tuner : "hyperband" or keras_tuner.oracles.HyperbandOracle

    Raises
    ------
    ValueError
        Nothing counts epochs, or they are searched.
    """
    if network is None:
        raise ValueError(
            "tuner='hyperband' gives trials more and more epochs, and the estimator counts none; "
            "choose 'random', 'bayesian', 'grid', 'tpe', 'gp' or 'cmaes', or search a "
            "KerasClassifier or KerasRegressor."
        )
    parameter = f"{prefix}epochs"
    if any(entry.parameter == parameter or entry.name == EPOCHS for entry in space):
        raise ValueError(
            f"tuner='hyperband' sets {parameter!r} itself, up to the estimator's own; leave it out "
            "of 'space'."
        )
    most = network.epochs if isinstance(tuner, str) else tuner.max_epochs
    return Space((*space, Entry(EPOCHS, parameter, Int(1, int(most)))))
