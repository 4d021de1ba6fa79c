"""An attack that asks whether a model tells who was in its training data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LOW_FPR = 0.01
SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class MembershipAudit:
    """How well rows that a model was trained on can be told from others by their loss.

    Attributes
    ----------
    advantage : float in [0, 1]
        The greatest true minus false positive rate over all thresholds; 0 is guessing.
    standard_error : float
        Of that rate difference, for the threshold as it is. The best of all thresholds lies above
        0 by about so much where there is nothing to find.
    auc : float in [0, 1]
        Probability that a member's loss is below another row's; 0.5 is guessing.
    tpr_at_low_fpr : float
        Share of members that are found while 1 % of the others are wrongly accused; 0.01 is
        guessing.
    threshold : float
        The loss, up to which a row is called a member, with the greatest advantage.
    n_members, n_others : int
    """

    advantage: float
    standard_error: float
    auc: float
    tpr_at_low_fpr: float
    threshold: float
    n_members: int
    n_others: int

    def __str__(self) -> str:
        return (
            f"membership inference by loss, {self.n_members} members against {self.n_others} "
            f"others: advantage {self.advantage:.3f} (standard error {self.standard_error:.3f}), "
            f"AUC {self.auc:.3f}, {self.tpr_at_low_fpr:.1%} of members found at 1 % false alarms, "
            f"best threshold {self.threshold:.3g}"
        )


def membership_inference(estimator, X_members, y_members, X_others, y_others) -> MembershipAudit:
    """Attack a fitted estimator: rows of small loss are called members of its training data.

    Parameters
    ----------
    estimator : classifier with predict_proba, or regressor
        Its rows' loss is ``-log p(y)``, or the squared error.
    X_members, y_members
        Rows it was trained on.
    X_others, y_others
        Rows of the same origin that it has not seen.

    Returns
    -------
    MembershipAudit

    References
    ----------
    Yeom, Giacomelli, Fredrikson, Jha, "Privacy Risk in Machine Learning: Analyzing the Connection
    to Overfitting", 2018, adversary 2, with every threshold; Carlini et al., "Membership Inference
    Attacks From First Principles", 2022, on low false-positive rates. Stronger attacks exist: a
    small advantage is no proof of privacy.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from autokit.privacy import membership_inference
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    >>> tree = DecisionTreeClassifier(random_state=0).fit(X[:100], y[:100])
    >>> bool(membership_inference(tree, X[:100], y[:100], X[100:], y[100:]).advantage > 0.4)
    True
    """
    members = row_losses(estimator, X_members, y_members)
    others = row_losses(estimator, X_others, y_others)
    for name, losses in (("members", members), ("others", others)):
        if not len(losses):
            raise ValueError(f"X_{name} has no rows; give rows to tell apart.")
    thresholds = np.unique(np.concatenate([members, others]))
    true_rate = np.searchsorted(np.sort(members), thresholds, "right") / len(members)
    false_rate = np.searchsorted(np.sort(others), thresholds, "right") / len(others)
    best = int(np.argmax(true_rate - false_rate))
    tpr, fpr = true_rate[best], false_rate[best]
    low = true_rate[false_rate <= LOW_FPR]
    x, y = np.concatenate([[0.0], false_rate]), np.concatenate([[0.0], true_rate])
    return MembershipAudit(
        advantage=max(0.0, float(tpr - fpr)),
        standard_error=math.sqrt(tpr * (1 - tpr) / len(members) + fpr * (1 - fpr) / len(others)),
        auc=float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)),
        tpr_at_low_fpr=float(low.max(initial=0.0)),
        threshold=float(thresholds[best]),
        n_members=len(members),
        n_others=len(others),
    )


def row_losses(estimator, X, y) -> np.ndarray:
    """Each row's cross-entropy, or squared error over all targets.

    Parameters
    ----------
    estimator : fitted classifier with predict_proba, or regressor
    X, y
        Rows and targets.

    Returns
    -------
    np.ndarray of float64 of shape (n_rows,)
    """
    y = np.asarray(y)
    if not hasattr(estimator, "predict_proba"):
        error = np.asarray(estimator.predict(X), np.float64) - y
        return np.square(error).reshape(len(y), -1).sum(axis=1)
    proba = np.asarray(estimator.predict_proba(X), np.float64)
    classes = np.asarray(estimator.classes_)
    places = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    chosen = proba[np.arange(len(y)), places]
    # a class that the estimator does not know is one it gives no probability
    chosen = np.where(classes[places] == y, chosen, 0.0)
    return -np.log(np.maximum(chosen, SMALLEST_PROBABILITY))
