"""Optimal Brain Damage: the weights whose loss costs least are deleted, in rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from autokit.compression.kernels import Kernel, Layers, select_kernels
from autokit.compression.method import CompressionMethod, Outcome, as_verb
from autokit.compression.saliency import MAX_INVERSE, Curvature, deletion_costs, surgeon_costs
from autokit.compression.sparsity import Pattern, faster
from autokit.compression.task import Task
from autokit.training import Held

SALIENCIES = (
    "gauss_newton", "hutchinson", "diagonal", "inverse_hessian", "magnitude", "random",
)  # fmt: skip
_DAMPING = 1e-2
# of the epochs, shared by the rounds but the last; it tunes what is left
_IN_ROUNDS = 0.5


@dataclass(kw_only=True, eq=False, repr=False)
class OptimalBrainDamage(CompressionMethod):
    """Prune what the loss misses least, by its second derivatives.

    ::

        for r in 1 .. n_rounds:
            s = saliency of each weight        # h_kk w^2 / 2, or w^2 / (2 [H^-1]_kk)
            delete the least salient, to a sparsity of 1 - (1 - sparsity)^(r / n_rounds)
            tune the others

    Parameters
    ----------
    sparsity : float in (0, 1), default=0.8
        Share of zeros in each kernel, to a whole weight; over all kernels if `scope` is "global".
    saliency : str, default="gauss_newton"
        How the curvature is found:

        - "gauss_newton": the diagonal of the Gauss-Newton matrix (LeCun's Levenberg-Marquardt
          form), by squared gradients at targets drawn from the model's answers; never negative.
        - "hutchinson": the Hessian's diagonal, as the mean of z * Hz over random signs z.
        - "diagonal": the same, exactly, a pass for each weight; for kernels of up to 10,000.
        - "inverse_hessian": of Optimal Brain Surgeon, each kernel in itself, with damping;
          kernels of more than 2,048 numbers take "gauss_newton". The other weights adapt by
          tuning instead of the closed form.
        - "magnitude", "random": what to compare with, in the same rounds.
    n_probes : int, default=10
        Passes over the rows for "gauss_newton" and "hutchinson".
    n_rows : int, default=1024
        Rows that curvature is measured on, drawn anew for each compression.
    n_rounds : int, default=5
    scope : {"layer", "global"}, default="layer"
        "global" compares saliencies over all kernels; at least one weight of each stays.
    layers : "auto" or callable, default="auto"
        As for `Prune`.
    epochs : int, default=40
        Half of them in the last round.
    learning_rate : float or None, default=None
        Until the last round, there a cosine to zero; None is three times the estimator's.
    batch_size, validation_fraction, max_score_drop, random_state
        As for `CompressionMethod`.

    Raises
    ------
    ValueError
        If a parameter is out of range, no kernel is chosen, or a kernel is too large for
        ``saliency="diagonal"``.

    References
    ----------
    LeCun, Denker, Solla, "Optimal Brain Damage", 1989. Hassibi and Stork, "Second order
    derivatives for network pruning: Optimal Brain Surgeon", 1993.

    Examples
    --------
    >>> from autokit import KerasClassifier
    >>> from autokit.compression import prune_optimal_brain_damage
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> dense = KerasClassifier(epochs=2, random_state=0).fit(X, y)
    >>> sparse = prune_optimal_brain_damage(dense, X, y, sparsity=0.5, n_rounds=2, epochs=2)
    >>> round(sparse.compression_report_.mean_sparsity, 2)
    0.5
    """

    sparsity: float = 0.8
    saliency: str = "gauss_newton"
    n_probes: int = 10
    n_rows: int = 1024
    n_rounds: int = 5
    scope: str = "layer"
    layers: Layers = "auto"
    epochs: int = 40

    _parameter_constraints = CompressionMethod._parameter_constraints | {
        "sparsity": [Interval(Real, 0, 1, closed="neither")],
        "saliency": [StrOptions(set(SALIENCIES))],
        "n_probes": [Interval(Integral, 1, None, closed="left")],
        "n_rows": [Interval(Integral, 1, None, closed="left")],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "scope": [StrOptions({"layer", "global"})],
        "layers": [StrOptions({"auto"}), callable],
    }

    def _compress(self, task: Task) -> Outcome:
        chosen, left_alone = select_kernels(task.model, self.layers)
        if self.learning_rate is None:
            faster(task)
        rng = np.random.default_rng(task.seed)
        rows = rng.permutation(len(task.train))[: self.n_rows]
        curvature = Curvature(task.model, task.loss, task.train.take(rows), chosen, task.seed)
        places = tuple(sorted({k.place for k in chosen}.union(task.held.zeros)))
        clusters = tuple(i for i in task.held.clusters if i not in places)
        task.held = Held(zeros=places, clusters=clusters)
        in_round = int(_IN_ROUNDS * self.epochs) // max(1, self.n_rounds - 1)
        costs = []
        for done in range(1, self.n_rounds + 1):
            share = 1 - (1 - self.sparsity) ** (done / self.n_rounds)
            saliencies = self._saliencies(task, chosen, curvature, rng)
            costs.append(self._delete(task, chosen, saliencies, share))
            last = done == self.n_rounds
            epochs = self.epochs - in_round * (self.n_rounds - 1) if last else in_round
            task.tune(epochs, schedule="cosine" if last else None)
        details: dict[str, Any] = {
            "sparsity": self.sparsity,
            "kernels": [kernel.path for kernel in chosen],
            "left_alone": left_alone,
        }
        if self.saliency not in ("magnitude", "random"):
            details["predicted_loss_rise"] = costs
        return Outcome(task.model, task.held, details)

    def _saliencies(self, task, kernels, curvature: Curvature, rng) -> list[np.ndarray]:
        weights = [task.model.variables[k.place].value.numpy() for k in kernels]
        if self.saliency == "magnitude":
            return [np.abs(w) for w in weights]
        if self.saliency == "random":
            return [rng.random(w.shape) for w in weights]
        if self.saliency == "inverse_hessian":
            return self._surgeon(kernels, weights, curvature)
        if self.saliency == "diagonal":
            diagonals = curvature.diagonal()
        else:
            diagonals = getattr(curvature, self.saliency)(self.n_probes)
        return [deletion_costs(w, h) for w, h in zip(weights, diagonals, strict=True)]

    def _surgeon(self, kernels, weights, curvature: Curvature) -> list[np.ndarray]:
        diagonals: list = [None] * len(kernels)
        if any(k.size > MAX_INVERSE for k in kernels):
            diagonals = curvature.gauss_newton(self.n_probes)
        return [
            deletion_costs(w, h)
            if k.size > MAX_INVERSE
            else surgeon_costs(w, curvature.block(k), _DAMPING)
            for k, w, h in zip(kernels, weights, diagonals, strict=True)
        ]

    def _delete(self, task, kernels: Sequence[Kernel], saliencies, share: float) -> float:
        """Zero the least salient weights; returns what that should cost."""
        variables = [task.model.variables[k.place] for k in kernels]
        values = [v.value.numpy() for v in variables]
        # what is zero already comes first, whatever its curvature
        ranked = [np.where(w == 0, -np.inf, s) for w, s in zip(values, saliencies, strict=True)]
        gone = self._least(kernels, ranked, share)
        for variable, value, out in zip(variables, values, gone, strict=True):
            variable.assign(np.where(out, 0, value).astype(value.dtype))
        parts = zip(saliencies, values, gone, strict=True)
        return float(sum(s[out & (value != 0)].sum() for s, value, out in parts))

    def _least(self, kernels, ranked, share) -> list[np.ndarray]:
        counts = [Pattern().zeros_of(k, share) for k in kernels]
        if self.scope == "layer":
            return [_smallest(r, n) for r, n in zip(ranked, counts, strict=True)]
        flat = [r.reshape(-1).copy() for r in ranked]
        for part in flat:
            part[part.argmax()] = np.inf  # a kernel of zeros alone would cut the network in two
        gone = _smallest(np.concatenate(flat), sum(counts))
        pieces = np.split(gone, np.cumsum([p.size for p in flat])[:-1])
        return [g.reshape(r.shape) for g, r in zip(pieces, ranked, strict=True)]


prune_optimal_brain_damage = as_verb(
    OptimalBrainDamage, "prune_optimal_brain_damage", "Prune what the loss misses least."
)


def _smallest(values: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` smallest numbers are."""
    gone = np.zeros(values.size, bool)
    gone[np.argsort(values, axis=None, kind="stable")[:count]] = True
    return gone.reshape(values.shape)
