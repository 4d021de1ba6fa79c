"""Whole blocks and channels taken out of a network: smaller and faster in every runtime."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from autokit._backend import keras, tf
from autokit.compression.channels import ChannelGraph, reading_kernel
from autokit.compression.method import CompressionMethod, Outcome, as_verb
from autokit.compression.surgery import moved, rebuilt, resolved
from autokit.compression.task import Task
from autokit.layers.graphs import Graph
from autokit.training import task_objective, value_and_gradient
from autokit.training.objectives import TensorBatch

_LEAST_SHARE = 1 / 8  # of a group's channels that stay in any case
_GRADIENT_BATCHES, _GRADIENT_ROWS = 16, 64


@dataclass(kw_only=True, eq=False, repr=False)
class PruneBlocks(CompressionMethod):
    """Residual blocks and channels that the network can spare, removed from its graph.

    Blocks: each addition of two branches is replaced by one of them in turn; the replacement
    that costs the least on the validation rows stays, as long as it costs at most `tolerance`.
    Channels: those whose removal changes the loss least, to first order, go from all layers that
    compute or read them, in rounds with tuning in between. The weights that stay are a part of
    the former ones, so the exported file is smaller and faster without sparse kernels.

    Parameters
    ----------
    what : {"both", "blocks", "channels"}, default="both"
        Blocks are tried first.
    share : float in [0, 1) or "auto", default=0.5
        Share of the network's weights that channels are removed for, beyond what blocks took.
        "auto" removes a quarter of the rest a round, until `max_score_drop` (0.01 if that is
        None) is exceeded on the validation rows, and goes one round back.
    tolerance : float, default=0.005
        Loss of score, before tuning, at which a block counts as spare.
    rounds : int, default=3
        In which `share` is reached; `epochs` of tuning follow each.
    epochs, batch_size, learning_rate, validation_fraction, max_score_drop, random_state
        See `CompressionMethod`. The validation rows take part in the choice of blocks and of
        the automatic share: judge the result on others.

    References
    ----------
    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference",
    2017 (saliency of channels); Veit, Wilber, Belongie, "Residual Networks Behave Like
    Ensembles of Relatively Shallow Networks", 2016 (blocks can be deleted).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from autokit import KerasClassifier
    >>> from autokit.compression import prune_blocks
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = KerasClassifier(epochs=10, random_state=0).fit(X, y)
    >>> half = prune_blocks(clf, X, y, share=0.5, epochs=3)
    >>> half.model_.count_params() <= 0.5 * clf.model_.count_params()
    True
    """

    what: str = "both"
    share: float | str = 0.5
    tolerance: float = 0.005
    rounds: int = 3

    _parameter_constraints = {
        **CompressionMethod._parameter_constraints,
        "what": [StrOptions({"both", "blocks", "channels"})],
        "share": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "tolerance": [Interval(Real, 0, None, closed="left")],
        "rounds": [Interval(Integral, 1, None, closed="left")],
    }

    def _compress(self, task):
        details = {"blocks": [], "channels": {}}
        before = _widths(task.model)
        if self.what != "channels":
            details["blocks"] = self._remove_blocks(task)
        if self.what != "blocks":
            if self.share == "auto":
                details["rounds"] = self._remove_while_it_lasts(task)
            else:
                details["weights_removed"] = self._remove_share(task)
            after = _widths(task.model)
            changed = {n: (w, after[n]) for n, w in before.items() if after.get(n, w) != w}
            details["channels"] = changed
        elif details["blocks"]:
            task.tune(self.epochs)
        return Outcome(task.model, task.held, details)

    def _remove_blocks(self, task: Task) -> list[str]:
        """Greedily drop branches of additions while the score bears it."""
        removed = []
        least = task.score() - self.tolerance
        while True:
            graph = resolved(task.model)
            best = None
            for layer, kept in _branches(graph):
                model = rebuilt(graph, _bypass(layer, kept))
                score = task.score(model)
                smaller = model.count_params() < task.model.count_params()
                if smaller and score >= least and (best is None or score > best[0]):
                    best = score, layer.name, model
            if best is None:
                return removed
            _, name, model = best
            _replace(task, model)
            removed.append(name)

    def _remove_share(self, task: Task) -> float:
        start = task.model.count_params()
        for i in range(1, self.rounds + 1):
            target = start * (1 - self.share * i / self.rounds)
            narrow(task, target)
            task.tune(self.epochs)
        return 1 - task.model.count_params() / start

    def _remove_while_it_lasts(self, task: Task) -> list[dict]:
        allowed = 0.01 if self.max_score_drop is None else self.max_score_drop
        least = task.score() - allowed
        told = []
        while True:
            model, held = task.model, task.held
            narrow(task, 0.75 * model.count_params())
            if task.model.count_params() > 0.95 * model.count_params():
                task.model, task.held = model, held
                return told
            task.tune(self.epochs)
            score = task.score()
            told.append({"n_weights": task.model.count_params(), "score": score})
            if score < least:
                task.model, task.held = model, held
                return told


def narrow(task: Task, n_weights: float) -> None:
    """Take the least missed channels out of a task's network, until it has so many weights.

    Parameters
    ----------
    task : Task
        Its model is replaced; nothing is tuned.
    n_weights : float
        To come down to, as far as an eighth of each group's channels allows.
    """
    graph = ChannelGraph.of(resolved(task.model))
    saliencies = graph.saliencies(_gradients(task, graph))
    least = {g: max(1, int(np.ceil(_LEAST_SHARE * graph.sizes[g]))) for g in saliencies}
    queue = sorted(
        (float(s) / np.sqrt(_cost(graph, group)), group, channel)
        for group, values in saliencies.items()
        for channel, s in enumerate(values)
    )
    kept = {g: np.ones(graph.sizes[g], bool) for g in saliencies}
    counts = {g: graph.sizes[g] for g in saliencies}
    for _, group, channel in queue:
        if graph.n_weights(counts) <= n_weights:
            break
        if counts[group] > least[group]:
            kept[group][channel] = False
            counts[group] -= 1
    chosen = {g: np.flatnonzero(mask) for g, mask in kept.items() if not mask.all()}
    if chosen:
        _replace(task, graph.narrowed(chosen))


def _cost(graph: ChannelGraph, group: int) -> float:
    """Weights that go with one channel of a group."""
    return float(graph.n_weights({}) - graph.n_weights({group: graph.sizes[group] - 1}))


def _gradients(task: Task, graph: ChannelGraph) -> dict[str, list[np.ndarray]]:
    """``w dL/dw`` of the kernels that read channels, for some batches of training rows."""
    model = task.model
    objective = task_objective(model, task.loss, training=False)
    gradient = value_and_gradient(objective)
    names = {v.path: i for i, v in enumerate(model.trainable_variables)}
    places = {}
    for layer in graph.layers:
        kernel = reading_kernel(layer) if layer.name in graph.reads else None
        if kernel is not None and kernel.path in names:
            places[layer.name] = names[kernel.path]

    @tf.function(autograph=False)
    def products(x, y, weight):
        params = [v.value for v in model.trainable_variables]
        buffers = [v.value for v in model.non_trainable_variables]
        _, gradients = gradient(params, buffers, TensorBatch(x, y, weight))
        return [params[i] * gradients[i] for i in places.values()]

    train = task.train
    rng = np.random.default_rng(task.seed)
    n_rows = min(_GRADIENT_ROWS, len(train))
    batches = []
    for _ in range(_GRADIENT_BATCHES):
        part = train.take(rng.choice(len(train), n_rows, replace=False))
        weight = np.ones(n_rows, np.float32) if part.weight is None else part.weight
        batches.append([t.numpy() for t in products(part.x, part.y, weight)])
    return {name: [batch[i] for batch in batches] for i, name in enumerate(places)}


def _branches(graph: Graph) -> list[tuple[keras.layers.Layer, int]]:
    """Additions of two branches, with the branch that could stay alone."""
    return [
        (call.layer, kept)
        for call in graph.calls
        if type(call.layer) is keras.layers.Add and len(call.inputs) == 2
        if call.inputs[0].shape == call.inputs[1].shape
        for kept in (0, 1)
    ]


def _bypass(addition, kept: int):
    return lambda layer, inputs: inputs[kept] if layer is addition else None


def _replace(task: Task, model: keras.Model) -> None:
    task.held = moved(task.held, task.model, model)
    task.model = model


def _widths(model: keras.Model) -> dict[str, int]:
    return {
        layer.name: int(layer.kernel.shape[-1])
        for layer in model.layers
        if getattr(layer, "kernel", None) is not None and not hasattr(layer, "depth_multiplier")
    }


prune_blocks = as_verb(PruneBlocks, "prune_blocks", "Remove spare blocks and channels.")
