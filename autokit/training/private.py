"""Differentially private gradient descent (DP-SGD), row by row, as a regime of training.

::

    each row takes part in a step with probability q = expected_rows / n_rows
    g~ = (sum_b g_b * min(1, C / |g_b|) + z C N(0, I)) / expected_rows

and any optimizer goes on with g~. Abadi et al., "Deep Learning with Differential Privacy", 2016,
algorithm 1, with their lots drawn row by row (Poisson), as the accounting supposes.
"""

from __future__ import annotations

import math

import numpy as np

from autokit._backend import keras, tf
from autokit.layers.graphs import Copies, graph_of, rebuilt
from autokit.privacy import AdaptiveClip, DifferentialPrivacy, Ledger, split_noise
from autokit.training.objectives import Step
from autokit.training.program import leaves
from autokit.training.regime import Regime
from autokit.training.row_clipping import clipped_sum, weight_penalty
from autokit.training.seeding import seeded


def private_regime(
    privacy: DifferentialPrivacy,
    *,
    noise_multiplier: float,
    expected_rows: float,
    seed: int,
    ledger: Ledger | None = None,
    sampling_rate: float = 1.0,
    clip: float | None = None,
) -> Regime:
    """Clipped rows and noise between the batch and the optimizer.

    Parameters
    ----------
    privacy : DifferentialPrivacy
        Its `clip_norm` is read.
    noise_multiplier : float >= 0
    expected_rows : float
        Of a step; what the noisy sum is divided by.
    seed : int
        Of the noise. Two trainings with one seed have one noise.
    ledger : Ledger, default=None
        Where each epoch's steps are added, to report epsilon; None reports nothing.
    sampling_rate : float, default=1.0
        Of those steps.
    clip : float, default=None
        The norm that an adaptive clipping starts from; None is the paper's 0.1.

    Returns
    -------
    Regime
        Its ``running["clip"]`` is the norm reached, its ``running["step"]`` counts.

    References
    ----------
    Andrew, Thakkar, McMahan, Ramaswamy, "Differentially Private Learning with Adaptive Clipping",
    2021, algorithm 1, here with one row in the place of a client.
    """
    start = AdaptiveClip() if clip is None else AdaptiveClip(clip)
    adaptive = privacy.is_adaptive
    sum_noise = split_noise(noise_multiplier, expected_rows) if adaptive else noise_multiplier
    entropy = np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(2, np.uint64)
    # both known when a training is traced: they are the rule, not its state
    quantile, rate = start.quantile, start.learning_rate
    fixed = {
        "seed": entropy.astype(np.int64),
        "noise": np.float32(sum_noise),
        "count_noise": np.float32(start.count_noise * expected_rows),
        "expected_rows": np.float32(expected_rows),
    }
    running = {
        "step": np.int64(0),
        "clip": np.float32(start.norm if adaptive else privacy.clip_norm),
    }

    def gradient(model, loss, scaled):
        summed, penalty = clipped_sum(model, loss), weight_penalty(model)

        def step(params, buffers, batch, fixed, running):
            clip = running["clip"]
            result = summed(params, buffers, batch, clip)
            noise = _noise(params, fixed["seed"], running["step"])
            scale = fixed["noise"] * clip
            gradients = [
                (g + tf.cast(scale, g.dtype) * n) / tf.cast(fixed["expected_rows"], g.dtype)
                for g, n in zip(result.gradients, noise["parameters"], strict=True)
            ]
            n_rows = tf.maximum(1.0, tf.cast(tf.size(result.losses), tf.float32))
            value = tf.reduce_sum(result.losses) / n_rows
            if penalty is not None:
                value, gradients = _with_penalty(penalty, params, value, gradients)
            if adaptive:
                # counted as +-1/2 a row, so that one more or less changes it by a half
                inside = tf.cast(result.norms <= clip, tf.float32) - 0.5
                count = tf.reduce_sum(inside) + fixed["count_noise"] * noise["count"]
                share = 0.5 + count / fixed["expected_rows"]
                clip *= tf.exp(-rate * (share - quantile))
            running = {"step": running["step"] + 1, "clip": clip}
            return Step(value, result.buffers, result.outputs), gradients, running

        return step

    def report(n_steps):
        spent = ledger.after(
            noise_multiplier=noise_multiplier, sampling_rate=sampling_rate, n_steps=n_steps
        )
        # a bound, but for the last 0.3 %, which the noise was solved for
        return {"epsilon": min(spent.epsilon_bound, max(privacy.epsilon, ledger.epsilon))}

    return Regime(
        f"private{adaptive}",
        gradient,
        fixed=fixed,
        running=running,
        order="poisson",
        report=None if ledger is None else report,
    )


def check_private(model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None) -> None:
    """Refuse a network that cannot be trained row by row.

    Raises
    ------
    ValueError
        Its rows see each other, or its losses are scaled.
    """
    for layer in leaves(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            raise ValueError(
                f"privacy= cannot train the BatchNormalization layer {layer.name!r}: it lets the "
                "rows of a batch see each other, so that no row's influence can be bounded. Use "
                "keras.layers.GroupNormalization or LayerNormalization, or freeze the layer "
                "(trainable = False)."
            )
    narrow = [v.path for v in model.trainable_variables if str(v.dtype) != "float32"]
    if narrow:
        raise ValueError(
            f"privacy= cannot train weights that are not float32, such as {narrow[0]!r}: a sum of "
            "clipped gradients would round by more than the noise hides. Use the dtype policy "
            "'float32' or 'mixed_bfloat16'."
        )
    half = [la.name for la in leaves(model) if la.compute_dtype == "float16"]
    if half or hasattr(optimizer, "inner_optimizer"):
        raise ValueError(
            "privacy= cannot train in float16: its loss scaling depends on the rows"
            f"{f' (layer {half[0]!r})' if half else ''}. Use the dtype policy 'float32' or "
            "'mixed_bfloat16'."
        )


def with_group_normalization(model: keras.Model, seed: int = 0) -> keras.Model:
    """The network with groups of up to 8 channels normalised where batches were.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential; given back as it is if it has no batch normalisation.
    seed : int, default=0
        Of dropout.

    Returns
    -------
    keras.Model
    """
    kind = keras.layers.BatchNormalization
    if not any(isinstance(layer, kind) for layer in leaves(model)):
        return model
    copies = Copies()

    def emit(call, *args, **kwargs):
        if not isinstance(call.layer, kind):
            return copies.emit(call, *args, **kwargs)
        groups = math.gcd(8, int(args[0].shape[-1]))
        name = copies.distinct(call.layer.name)
        return keras.layers.GroupNormalization(groups, name=name)(args[0])

    with seeded(seed):
        return rebuilt(graph_of(model), emit, model.name)


def _noise(params, seed, step) -> dict:
    """Standard normal numbers that belong to this step alone."""
    seed = tf.random.experimental.stateless_fold_in(seed, step)
    sizes = [int(np.prod(p.shape)) for p in params]
    drawn = tf.random.stateless_normal((sum(sizes) + 1,), seed)
    *parts, count = tf.split(drawn, [*sizes, 1])
    shaped = [tf.cast(tf.reshape(n, p.shape), p.dtype) for n, p in zip(parts, params, strict=True)]
    return {"parameters": shaped, "count": count[0]}


def _with_penalty(penalty, params, value, gradients):
    params = [tf.identity(p) for p in params]
    with tf.GradientTape() as tape:
        tape.watch(params)
        pull = penalty(params)
    own = tape.gradient(pull, params, unconnected_gradients="zero")
    return value + pull, [g + o for g, o in zip(gradients, own, strict=True)]
