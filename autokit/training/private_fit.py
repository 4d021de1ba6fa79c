"""Training within a privacy budget: how much noise, how many steps, and what has been spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autokit._backend import keras
from autokit.privacy import (
    AdaptiveClip,
    DifferentialPrivacy,
    Ledger,
    PrivacyBudgetSpent,
    noise_multiplier,
    warn_of_delta,
)
from autokit.training.batches import Batch
from autokit.training.fit_loop import FitConfig, FitResult, fit, make_optimizer
from autokit.training.private import check_private, private_regime


class _Begun(keras.callbacks.Callback):
    """Counts epochs."""

    n_epochs = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.n_epochs += 1


@dataclass(frozen=True)
class PrivacySpent:
    """What a private training has spent, and what it needs to go on.

    Attributes
    ----------
    ledger : Ledger
        All steps so far.
    noise_multiplier : float
        Standard deviation of the noise by the clipping norm.
    clip_norm : float
        The norm that rows' gradients are clipped to; where it adapts, the one it has reached.
    """

    ledger: Ledger
    noise_multiplier: float
    clip_norm: float

    @property
    def epsilon(self) -> float:
        """Spent so far, at the delta of the budget."""
        return self.ledger.epsilon

    @property
    def delta(self) -> float:
        """Of the budget."""
        return self.ledger.privacy.delta


def check_request(privacy: DifferentialPrivacy, *, compression, class_weight) -> None:
    """Refuse settings of an estimator with which no promise can be kept.

    Raises
    ------
    ValueError
        Names the setting and the cure.
    """
    if privacy.level != "example":
        raise ValueError(
            f"The 'privacy' parameter hides single rows here and must have level='example'; got "
            f"level={privacy.level!r}. To hide whole clients, train with "
            "autokit.FederatedTrainer(privacy=...)."
        )
    if compression is not None:
        raise ValueError(
            "The 'compression' parameter cannot be combined with 'privacy': it would train on the "
            "rows once more, without noise. Leave compression=None and export in a smaller "
            "format, which reads no rows: autokit.export_tflite(estimator, path, "
            "quantization='float16')."
        )
    if isinstance(class_weight, str):
        raise ValueError(
            f"class_weight={class_weight!r} counts the rows of each class, which the privacy "
            "budget does not account for. Give a dict of weights that you know without the rows, "
            "or None."
        )


def fit_privately(
    model,
    train: Batch,
    validation: Batch | None = None,
    *,
    privacy: DifferentialPrivacy,
    config: FitConfig,
    planned_epochs: int,
    before: PrivacySpent | None = None,
    seed: int | None = None,
    note: Callable[[PrivacySpent], None] = lambda spent: None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options,
) -> tuple[FitResult, PrivacySpent]:
    """Train as `fit` does, with the gradients of rows clipped and noise added.

    Parameters
    ----------
    model, train, validation, config
        As for `fit`. The steps of an epoch draw ``config.batch_size`` rows on average.
    privacy : DifferentialPrivacy
    planned_epochs : int
        For how many epochs like this one the budget is to last.
    before : PrivacySpent, default=None
        Of the training that this one goes on with.
    seed : int or None, default=None
        Of the rows drawn and of the noise; None takes it from the operating system.
    note : callable, default=nothing
        Is told what has been spent if the training is ended by an error, whose callbacks may have
        shown the weights: all steps of each epoch that had begun.
    callbacks : sequence of keras.callbacks.Callback, default=()
    **options
        Others of `fit`.

    Returns
    -------
    result : FitResult
        Its history has "epsilon", spent up to the end of each epoch.
    spent : PrivacySpent

    Raises
    ------
    PrivacyBudgetSpent
        The epochs would spend more than is left.
    ValueError
        The network cannot be trained row by row.
    """
    check_private(model, make_optimizer(config))
    n_rows = len(train)
    warn_of_delta(privacy, n_rows, "rows", 3)
    sampling_rate = min(1.0, config.batch_size / n_rows)
    n_steps = -(-n_rows // config.batch_size)
    if before is None or before.ledger.privacy != privacy:
        noise = noise_multiplier(
            privacy, n_steps=n_steps * planned_epochs, sampling_rate=sampling_rate
        )
        # a changed budget is one for the same model: what was spent stays spent
        ledger = Ledger(privacy) if before is None else replace(before.ledger, privacy=privacy)
    else:
        noise, ledger = before.noise_multiplier, before.ledger
    kind = {"noise_multiplier": noise, "sampling_rate": sampling_rate}
    if ledger.phases and not ledger.affords(**kind, n_steps=n_steps * config.epochs):
        raise PrivacyBudgetSpent(
            f"{ledger.epsilon:.4g} of epsilon = {privacy.epsilon:g} is spent, and going on for "
            f"{config.epochs} epoch(s) of {n_steps} steps would spend more than is left. The "
            f"budget was made to last for epochs={planned_epochs}: ask for more epochs in the "
            "first place (they get more noise each), or call fit, which starts a new model with "
            "a budget of its own."
        )
    if seed is None:
        # 31 bits, as of a random_state, could be tried out one by one
        seed = int(np.random.SeedSequence().entropy)
    regime = private_regime(
        privacy,
        **kind,
        expected_rows=sampling_rate * n_rows,
        seed=seed,
        ledger=ledger,
        clip=None if before is None else before.clip_norm,
    )
    begun = _Begun()
    options |= {"seed": seed, "regime": regime, "callbacks": [*callbacks, begun]}
    try:
        result = fit(model, train, validation, config=config, **options)
    except BaseException:
        if begun.n_epochs:
            ledger = ledger.after(**kind, n_steps=n_steps * begun.n_epochs)
            clip = AdaptiveClip().norm if privacy.is_adaptive else float(privacy.clip_norm)
            note(PrivacySpent(ledger, noise, clip if before is None else before.clip_norm))
        raise
    ledger = ledger.after(**kind, n_steps=int(result.running["step"]))
    spent = PrivacySpent(ledger, noise, float(result.running["clip"]))
    if before is None:
        exact = spent.epsilon
        history = [min(bound, exact) for bound in result.history["epsilon"]]
        result.history["epsilon"] = history[:-1] + [exact]
    return result, spent
