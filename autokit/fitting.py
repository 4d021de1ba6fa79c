"""Parameters and training that the plain classifier and regressor share."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from functools import partial
from numbers import Integral, Real
from typing import Self

from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from autokit._backend import keras
from autokit.privacy import DifferentialPrivacy
from autokit.training import Batch, FitConfig, current_watch, fit, split
from autokit.training.building import build_model
from autokit.training.hyperbuild import HyperBuild, take_compiled
from autokit.training.objectives import make_loss
from autokit.training.private import with_group_normalization
from autokit.training.private_fit import PrivacySpent, check_request, fit_privately
from autokit.training.progress import EpochProgress

DEFAULT_PATIENCE = 10
DEFAULT_VALIDATION_FRACTION = 0.1

OPTIMIZERS = {
    name.lower()
    for name, value in vars(keras.optimizers).items()
    if isinstance(value, type) and name not in ("Optimizer", "LossScaleOptimizer")
}


class KerasParameters:
    """Parameters and training that the classifier and the regressor share."""

    _parameter_constraints: dict = {
        "model": [None, callable, keras.Model, HasMethods(["build", "declare_hyperparameters"])],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions(OPTIMIZERS), keras.optimizers.Optimizer],
        "learning_rate": [
            None,
            Interval(Real, 0, None, closed="neither"),
            keras.optimizers.schedules.LearningRateSchedule,
        ],
        "loss": [None, str, callable],
        "validation_fraction": [None, Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean", Interval(Integral, 1, None, closed="left")],
        "callbacks": [None, list, tuple, keras.callbacks.Callback],
        "compression": [None, HasMethods(["apply"])],
        "privacy": [None, DifferentialPrivacy],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    privacy: DifferentialPrivacy | None = None
    privacy_spent_: PrivacySpent

    def _standardizes(self) -> bool:
        return self.model is None or getattr(self.model, "standardizes", False)

    def _train(self, data: Batch) -> None:
        self._check_privacy()
        seed = self._seed()
        self.model_ = self._build(data, seed)
        self.__dict__.pop("privacy_spent_", None)
        self._learn(data, self._config(self.epochs), seed)

    def partial_fit(self, X, y, sample_weight=None) -> Self:
        """Train one more epoch on these rows, going on from what was learnt before.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`; the first call fixes the columns and the scaling.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def _partial_fit(self, X, y, sample_weight, classes=None):
        self._validate_params()
        seed = self._seed()
        goes_on = hasattr(self, "model_")
        self._check_privacy(goes_on)
        if not goes_on:
            data = self._encode_new(X, y, sample_weight, classes)
            self.model_ = self._build(data, seed)
        else:
            data = self._encode_more(X, y, sample_weight)
        config = dataclasses.replace(self._config(1), early_stopping=None)
        # another seed a call: the same order of rows in every epoch would bias SGD
        epochs_done = len(getattr(self, "history_", {}).get("loss", ()))
        try:
            self._learn(data, config, seed + epochs_done, whole=True)
        except BaseException:
            if not goes_on:  # nothing was learnt, and nothing is fitted
                del self.model_
                self.__dict__.pop("privacy_spent_", None)
            raise
        return self

    def _check_privacy(self, goes_on: bool = False) -> None:
        if self.privacy is None:
            return
        check_request(
            self.privacy,
            compression=self.compression,
            class_weight=getattr(self, "class_weight", None),
        )
        if goes_on and not hasattr(self, "privacy_spent_"):
            raise ValueError(
                "The model was trained without privacy, and going on with it hides nothing of "
                "what it has learnt; call fit, which starts a new one."
            )

    def set_params(self, **params) -> Self:
        """Set parameters; ``model__name`` is a parameter of a `model` that is a ``build(hp)``."""
        inner = [name for name in params if name.startswith("model__")]
        hyperbuild = HyperBuild.of(params.get("model", self.model)) if inner else None
        if hyperbuild is not None:
            values = {name.removeprefix("model__"): params.pop(name) for name in inner}
            params["model"] = clone(hyperbuild).set_params(**values)
        return super().set_params(**params)

    def _build(self, data: Batch, seed: int) -> keras.Model:
        def build() -> tuple[keras.Model, dict]:
            network = build_model(self.model, *place, accepts=self._accepts_width)
            if self.privacy is not None and self.model is None:
                network = with_group_normalization(network, seed)
            return network, {} if hyperbuild is None else take_compiled(network)

        kind, shape = self.encoder_.kind_, self.encoder_.encoded_shape_
        place = (kind, shape, self._n_outputs(data), self._default_activation, seed)
        hyperbuild = HyperBuild.of(self.model)
        given = self.model if hyperbuild is None else hyperbuild.key
        watch = current_watch()
        is_shareable = isinstance(given, Hashable) and not isinstance(given, keras.Model)
        if watch is None or self.compression is not None or not is_shareable:
            network, self._compiled = build()
        else:
            key = (given, place, self.privacy is not None)
            network, self._compiled = watch.network(key, build)
        return network

    def _accepts_width(self, width, n_outputs) -> bool:
        return width == n_outputs

    def _config(self, epochs: int) -> FitConfig:
        patience = DEFAULT_PATIENCE if self.early_stopping is True else self.early_stopping
        optimizer = self.optimizer
        if optimizer == "adam":  # the default: it cannot be told from one that was asked for
            optimizer = getattr(self, "_compiled", {}).get("optimizer", optimizer)
        return FitConfig(
            epochs=int(epochs),
            batch_size=int(self.batch_size),
            optimizer=optimizer,
            learning_rate=self.learning_rate,
            loss=self.training_loss(),
            early_stopping=int(patience) if patience else None,
        )

    def training_loss(self) -> keras.losses.Loss:
        """The loss that further training of `model_` minimises."""
        loss = self._loss()
        return super().training_loss() if loss is None else make_loss(loss)

    def _loss(self):
        """The loss that was asked for, here or in the network's ``compile``."""
        return getattr(self, "_compiled", {}).get("loss") if self.loss is None else self.loss

    def _learn(self, data: Batch, config: FitConfig, seed: int, whole: bool = False) -> None:
        fraction = self.validation_fraction
        if fraction is None:
            fraction = DEFAULT_VALIDATION_FRACTION if config.early_stopping else 0.0
        validation = None
        if fraction and not whole:
            data, validation = split(data, fraction, seed, stratify=self._stratifies)
        callbacks = self.callbacks or []
        callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else callbacks
        progress = [EpochProgress()] if self.verbose and not whole else []
        rows = self._weighted(data)
        options = {
            "config": config,
            "callbacks": [*callbacks, *progress],
            "optimizer_state": getattr(self, "_optimizer_state", None) if whole else None,
            "constraints": self._constraints(),
        }
        if self.privacy is None:
            self.__dict__.pop("privacy_spent_", None)
            result = fit(self.model_, rows, validation, seed=seed, **options)
        else:
            result, self.privacy_spent_ = fit_privately(
                self.model_,
                rows,
                validation,
                privacy=self.privacy,
                planned_epochs=int(self.epochs),
                before=getattr(self, "privacy_spent_", None),
                seed=None if self.random_state is None else seed,
                note=partial(setattr, self, "privacy_spent_"),
                **options,
            )
        self._optimizer_state = result.optimizer_state
        if not whole:
            self.history_ = result.history
            return
        history = self.__dict__.setdefault("history_", {})
        for name, values in result.history.items():
            history.setdefault(name, []).extend(values)

    def _weighted(self, data: Batch) -> Batch:
        return data


PARAMETERS_DOC = """
    Parameters
    ----------
    model : keras.Model, callable or None, default=None
        A model is copied with its weights: training starts from them and the original stays as it
        is. A function builds one from ``(input_shape, n_outputs)``, the shape of one encoded row
        and the number of classes or targets. None chooses by the input: a perceptron for
        tables, a residual network for images, a convolutional one for sequences; its inputs (and
        regression targets) are standardised. A model of yours sees numbers as they are.
        A keras-tuner function ``build(hp)``, or a ``keras_tuner.HyperModel``, is built with its
        default values or with those set as ``model__name``. The optimizer, learning rate and
        loss that it compiles are trained with, except those given here: an `optimizer` other than
        "adam", a `learning_rate`, a `loss`.
    epochs : int, default=50
    batch_size : int, default=32
    optimizer : str or keras.optimizers.Optimizer, default="adam"
        An instance brings its own clipping, weight decay and schedule.
    learning_rate : float, keras LearningRateSchedule or None, default=None
        None keeps the optimizer's own (0.001 for Adam).
    loss : str, keras.losses.Loss, callable or None, default=None
        None is {loss}.
    validation_fraction : float in [0, 1) or None, default=None
        Share of rows held out to watch training; None holds out 0.1 with early stopping and
        nothing without.
    early_stopping : bool or int, default=False
        Epochs of patience (True is 10) without a better validation loss; the best epoch's weights
        are restored.{extra}
    callbacks : keras.callbacks.Callback, list of them or None, default=None
    compression : method of autokit.compression or None, default=None
        Compresses the trained network as the last step of `fit`, for example
        ``autokit.compression.Prune(sparsity=0.8)``.
    privacy : DifferentialPrivacy or None, default=None
        With ``autokit.privacy.DifferentialPrivacy(epsilon, delta, level="example")`` the weights
        are learnt by DP-SGD: steps draw `batch_size` rows on average, each row's gradient is
        clipped, noise is added, and `epochs` of them spend the budget. `partial_fit` may be
        called `epochs` times before it is spent. Large batches suit it. Batch normalisation is
        refused (the network that None chooses has group normalisation instead). Outside of the
        accounting are: the number of rows, what the encoder learns of the columns (categories,
        means, scales), the set of labels, the validation rows and what early stopping makes of
        them, and ``history_``: do not publish those. Leave `random_state` None: whoever knows
        the seed can take the noise away.
    random_state : int, RandomState or None, default=None
        Seeds weights, dropout, splits and the order of rows.
    verbose : int, default=0
        1 shows a progress bar.
"""


def missing_activation(model: keras.Model, loss) -> str | None:
    """What must follow the model's outputs to make them probabilities."""
    from_logits = None
    if hasattr(loss, "get_config"):
        from_logits = loss.get_config().get("from_logits")
    if from_logits is None:
        activation = getattr(model.layers[-1], "activation", None)
        from_logits = activation is keras.activations.linear
    if not from_logits:
        return None
    return "sigmoid" if model.output_shape[-1] == 1 else "softmax"
