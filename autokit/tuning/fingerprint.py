"""What makes a search the same search: hashes of its data, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from autokit.persistence.hashing import settings_of, sha256_of
from autokit.persistence.studies import stored_fingerprint
from autokit.tuning.space import Space

_SETTINGS = ("tuner", "scoring", "pruner", "error_score", "return_train_score")


def fingerprint(
    search: Any,
    X: Any,
    y: Any,
    params: Mapping[str, Any],
    folds: list,
    space: Space,
    objectives: tuple[str, ...],
    random_state: int | str | None,
    seed: int,
) -> dict[str, Any]:
    """What two runs must agree in to be one search, as JSON values.

    `n_trials`, `time_budget_s`, `n_jobs`, `refit` and `verbose` are not among them: a search may
    be prolonged, and its processes may differ. Functions, pruners, samplers and oracles that are
    given as objects are known by their names only.

    Parameters
    ----------
    search : TunerSearchCV
    X, y : array-like
    params : dict of str to object
        Of `fit`.
    folds : list of (train, test) index arrays
    space : Space
    objectives : tuple of str
    random_state, seed
        Of `seeds_of`.
    """
    found: dict[str, Any] = {"X": sha256_of(X), "y": sha256_of(y)}
    found |= {name: sha256_of(values) for name, values in sorted(params.items())}
    found["cv"] = sha256_of([part for fold in folds for part in fold])
    found |= settings_of("estimator", search.estimator)
    found |= {f"space.{entry[0]}": entry[1:] for entry in space.describe()}
    for name in _SETTINGS:
        found |= settings_of(name, getattr(search, name))
    found["objectives"] = list(objectives)
    return found | {"random_state": random_state, "seed": seed}


def seeds_of(random_state: Any, storage: Any) -> tuple[int | str | None, int]:
    """What was given to seed a search, described, and the seed itself.

    What is resumed without a `random_state` takes that of the storage.
    """
    if random_state is None and storage is not None:
        stored = stored_fingerprint(storage) or {}
        if "seed" in stored:
            return stored.get("random_state"), stored["seed"]
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    if random_state is None or isinstance(random_state, Integral):
        return None if random_state is None else int(random_state), seed
    return type(random_state).__name__, seed
