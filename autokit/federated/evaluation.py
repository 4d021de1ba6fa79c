"""The model judged: on rows of the server, and on those of each client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from autokit.federated.arguments import about
from autokit.federated.columns import in_order
from autokit.federated.own_normalization import own_of, weights_of
from autokit.federated.weights import WeightLayout
from autokit.layers import copied
from autokit.preprocessing import check_lengths
from autokit.training import Forward

if TYPE_CHECKING:
    from autokit.federated.lifecycle import FederatedEstimator


def judge_of(estimator: FederatedEstimator, rows) -> Callable[[], dict[str, float]] | None:
    """What says how good the model is now on `validation_data`, if there are such rows.

    Raises
    ------
    ValueError
        They are no rows, or others than were fitted.
    """
    if rows is None:
        return None
    is_list = isinstance(rows, tuple | list)
    if not is_list or len(rows) != 2:
        raise ValueError(
            f"validation_data must be a pair (X, y); got {type(rows).__name__}"
            f"{f' of length {len(rows)}' if is_list else ''}."
        )
    X, y = rows
    with about("validation_data"):
        check_lengths(X, y)
        estimator.target_.encode(y, type(estimator).__name__)
        encoded = estimator._encode(X)
    forward = Forward(estimator.model_, estimator._finish())

    def judge() -> dict[str, float]:
        score, loss = estimator._judged(forward(encoded), y)
        return {"val_loss": loss, "val_score": score}

    return judge


def scores_of(
    estimator: FederatedEstimator, pairs: Iterable[tuple[Any, tuple[Any, Any]]]
) -> pd.DataFrame:
    """Score and loss on each client's rows, with its own batch normalisation if it has some.

    Parameters
    ----------
    estimator : FederatedEstimator
    pairs : iterable of (name, (X, y))

    Returns
    -------
    DataFrame
        As of `FederatedEstimator.evaluate_clients`.

    Raises
    ------
    ValueError
        Rows are others than were fitted; the message names the client.
    """
    state, model = estimator._state, estimator.model_
    has_own = bool(own_of(state))
    if has_own:
        model = copied(model)
    layout, forward = WeightLayout.of(model), Forward(model, estimator._finish())
    names = getattr(estimator, "feature_names_in_", None)
    rows = []
    for name, (X, y) in pairs:
        if has_own:
            layout.write(model, weights_of(state, estimator.model_, name))
        with about(f"client {name!r}"):
            check_lengths(X, y)
            score, loss = estimator._judged(forward(estimator._encode(in_order(X, names))), y)
        rows.append({"client": name, "n_rows": len(y), "score": score, "loss": loss})
    return pd.DataFrame(rows).set_index("client")
