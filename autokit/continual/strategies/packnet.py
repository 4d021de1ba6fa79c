"""PackNet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit._backend import tf
from autokit.continual.network import head_of
from autokit.continual.protocols import PerUnit, Strategy
from autokit.layers import copied
from autokit.training.state import assign


@dataclass(kw_only=True, eq=False, repr=False)
class PackNet(Strategy):
    """Prune what a task has learnt, freeze what is kept, and leave the rest to the next task.

    ::

        train the free weights
        in each layer: the share `keep` of the free weights, the largest by |w|, is the task's
                       the other free weights = 0, free for tasks to come
        train the task's weights alone
        answer with the weights of this task and of those before it; 0 for the others

    Tasks are told at predict, and nothing is forgotten: a task's answers stay the same bit for
    bit. Biases, and the weights and statistics of normalisations, are trained with the first
    experience only. A network with such statistics learns later ones as it answers: normalised
    by them, without dropout.

    Parameters
    ----------
    keep : float in (0, 1], default=0.5
        Share of each layer's free weights that an experience takes: half, a quarter, an eighth.
    retrain_epochs : int, default=5
        Epochs after pruning.

    References
    ----------
    Mallya and Lazebnik, "PackNet: Adding Multiple Tasks to a Single Network by Iterative
    Pruning", 2018, section 3. Output layers belong to a task each and are not pruned, as there.
    Rows of a task that was learnt before take free weights like those of a new one.

    Examples
    --------
    >>> from autokit.continual import PackNet
    >>> PackNet(keep=0.3).needs_task
    True
    """

    keep: float = 0.5
    retrain_epochs: int = 5

    task_heads: ClassVar[bool] = True
    needs_task: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {
        "keep": [Interval(Real, 0, 1, closed="right")],
        "retrain_epochs": [Interval(Integral, 0, None, closed="left")],
    }

    def key(self) -> str:
        return "PackNet"

    def start(self, params, buffers):
        # who owns a weight: 0 nobody, else the number of an experience, counted from 1
        owner = [np.zeros(p.shape, np.int16) for p in params]
        return {"owner": owner, "last": PerUnit(np.full(params[-1].shape[-1], np.nan, np.float32))}

    def before(self, experience):
        own = experience.groups == experience.group
        is_first, n_weights, n_free, fixed = experience.number == 0, 0, 0, []
        kinds = _kinds(experience.network)
        parts = zip(kinds, experience.before.params, experience.state["owner"], strict=True)
        for kind, value, owner in parts:
            free = np.full(value.shape, is_first)
            if kind == "head":
                free = np.broadcast_to(own, value.shape)
            elif kind == "weights":
                free = owner == 0
                n_weights, n_free = n_weights + free.size, n_free + int(free.sum())
            fixed.append(np.where(free, np.nan, value).astype(value.dtype))
        if n_weights and not n_free:
            raise ValueError(
                f"PackNet has no free weights left: {experience.number} experiences have taken "
                f"all {n_weights}. Lower 'keep' (it is {self.keep}), start with a larger network, "
                "or take 'progressive', whose network grows."
            )
        return {**experience.state, "fixed": fixed}

    def objective(self, objective, step):
        at_rest = step.own(training=False)

        def held(params, buffers, batch):
            # whatever an optimizer does to a fixed weight (momentum, decay), nothing sees it
            fixed = step.state["fixed"]
            used = [tf.where(tf.math.is_nan(f), p, f) for p, f in zip(params, fixed, strict=True)]
            if not any(b.dtype.is_floating for b in buffers):
                return objective(used, buffers, batch)
            return tf.cond(
                tf.equal(step.n_before, 0),
                lambda: objective(used, buffers, batch),
                lambda: at_rest(used, buffers, batch),
            )

        return held

    def after(self, experience):
        state, network, number = experience.state, experience.network, experience.number + 1
        kinds, owners, fixed = _kinds(network), [], []
        values = _held(experience.learnt.params, state["fixed"])
        for place, kind in enumerate(kinds):
            owner, hold = state["owner"][place], state["fixed"][place]
            if kind == "weights":
                kept = _largest(values[place], owner == 0, self.keep)
                owner = np.where(kept, number, owner).astype(np.int16)
                values[place] = np.where(owner == 0, 0.0, values[place]).astype(hold.dtype)
                hold = np.where(kept, np.nan, values[place]).astype(hold.dtype)
            elif kind == "rest" and number == 1:
                owner = np.ones_like(owner)
            owners.append(owner)
            fixed.append(hold)
        assign(network.trainable_variables, values)
        if self.retrain_epochs:
            experience.state = {**state, "fixed": fixed}
            experience.train(self.retrain_epochs)
            assign(network.trainable_variables, _held(experience.learnt.params, fixed))
        last = np.where(experience.groups == experience.group, number, state["last"].values)
        return {"owner": owners, "last": PerUnit(last.astype(np.float32))}

    def answer(self, network, state, groups, group):
        numbers = state["last"].values[groups == group] if state else np.array([np.nan])
        if np.isnan(numbers).all():
            return network
        later = [owner > np.nanmax(numbers) for owner in state["owner"]]
        if not any(part.any() for part in later):
            return network
        part = copied(network)
        for variable, unused in zip(part.trainable_variables, later, strict=True):
            variable.assign(np.where(unused, 0.0, variable.value.numpy()))
        return part


def _kinds(network) -> list[str]:
    """Of each trainable variable: "head", "weights" that are pruned, or the "rest"."""
    head = {id(v) for v in head_of(network).trainable_variables}

    def kind(variable):
        if id(variable) in head:
            return "head"
        return "weights" if len(variable.shape) > 1 else "rest"

    return [kind(v) for v in network.trainable_variables]


def _held(values, fixed) -> list[np.ndarray]:
    return [np.where(np.isnan(f), v, f) for v, f in zip(values, fixed, strict=True)]


def _largest(value, free, share) -> np.ndarray:
    """The given share of the free places, rounded up: those of the largest magnitude."""
    places = np.flatnonzero(free)
    order = np.argsort(-np.abs(value.reshape(-1)[places]), kind="stable")
    chosen = np.zeros(value.size, bool)
    chosen[places[order[: math.ceil(share * len(places))]]] = True
    return chosen.reshape(value.shape)
