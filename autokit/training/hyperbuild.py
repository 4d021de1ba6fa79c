"""keras-tuner's ``build(hp)`` as the `model` of an estimator."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self

from autokit._backend import keras


class HyperBuild:
    """A function ``build(hp)``, or a ``keras_tuner.HyperModel``, with values of its parameters.

    Setting ``model__units=32`` on an estimator whose `model` is such a function puts this in its
    place. What has no value gets the default that `build` gives it.

    Parameters
    ----------
    build : callable or keras_tuner.HyperModel
    **values
        By the names that `build` asks `hp` for.

    Examples
    --------
    >>> from autokit import KerasClassifier
    >>> def build(hp):
    ...     units = hp.Int("units", 4, 64)
    >>> KerasClassifier(model=build).set_params(model__units=8).model
    HyperBuild(build, units=8)
    """

    def __init__(self, build: Any, **values: Any):
        self.build, self._values = build, values

    @classmethod
    def of(cls, model: Any) -> Self | None:
        """`model` as one of these; None if it is no function of ``hp`` alone."""
        if isinstance(model, cls):
            return model
        return cls(model) if is_hypermodel(model) or _takes_hp(model) else None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The values that were set, by name."""
        return dict(self._values)

    def set_params(self, **params: Any) -> Self:
        """Set values, by name."""
        self._values |= params
        return self

    def __sklearn_clone__(self) -> Self:
        return type(self)(self.build, **self._values)

    def __call__(self, hp: Any = None) -> keras.Model:
        """The network for these values.

        Parameters
        ----------
        hp : keras_tuner.HyperParameters, default=None
            What `build` is called with; one with these values by default.

        Raises
        ------
        ValueError
            `build` returns no model.
        """
        if hp is None:
            from keras_tuner import HyperParameters

            hp = HyperParameters()
            hp.values = dict(self._values)
        network = (self.build.build if is_hypermodel(self.build) else self.build)(hp)
        if not isinstance(network, keras.Model):
            hint = "; does it end without a return?" if network is None else "."
            raise ValueError(
                "The 'model' parameter must build a keras.Model from hp; "
                f"{self._name()}(hp) returned a {type(network).__name__}{hint}"
            )
        return network

    @property
    def key(self) -> tuple:
        """The same for what builds the same."""
        return id(self.build), tuple(sorted((n, repr(v)) for n, v in self._values.items()))

    def _name(self) -> str:
        return getattr(self.build, "__qualname__", type(self.build).__name__)

    def __repr__(self) -> str:
        values = "".join(f", {name}={value!r}" for name, value in self._values.items())
        return f"HyperBuild({self._name().rpartition('.')[2]}{values})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HyperBuild):
            return NotImplemented
        return (self.build, self._values) == (other.build, other._values)

    __hash__ = None  # type: ignore[assignment]


def take_compiled(network: keras.Model) -> dict[str, Any]:
    """Take from a network the optimizer and the loss that it was compiled with, to train with.

    Targets are numbers of classes here and not one-hot rows, so that categorical cross-entropy
    becomes the sparse one. Empty for a network that is not compiled.

    Raises
    ------
    ValueError
        The loss is one per output, or smooths labels, which numbers of classes cannot be.
    """
    settings: dict[str, Any] = {}
    optimizer = getattr(network, "optimizer", None)
    if optimizer is None:
        return settings
    if "float16" in str(network.dtype_policy.name):
        # compile wraps it for mixed precision, as training does again
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    settings["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    if network.loss is not None:
        settings["loss"] = _for_numbers(network.loss)
    # Keras would save the state of an optimizer that never saw the network
    network.compiled, network.optimizer, network.loss = False, None, None
    network._compile_loss = network._compile_metrics = None
    return settings


def _for_numbers(loss: Any) -> Any:
    losses = keras.losses
    if isinstance(loss, list | tuple | dict):
        if len(loss) != 1:
            raise ValueError(
                f"The 'model' parameter compiles {len(loss)} losses; compile a network with one "
                "output and one loss."
            )
        loss = next(iter(loss.values() if isinstance(loss, dict) else loss))
    if loss in ("categorical_crossentropy", losses.categorical_crossentropy):
        return losses.SparseCategoricalCrossentropy()
    if not isinstance(loss, losses.CategoricalCrossentropy):
        return loss
    config = loss.get_config()
    if config.get("label_smoothing"):
        raise ValueError(
            "The 'model' parameter compiles a CategoricalCrossentropy with label_smoothing, which "
            "numbers of classes cannot have; leave label_smoothing out, or give the estimator a "
            "'loss' of (numbers, probabilities)."
        )
    return losses.SparseCategoricalCrossentropy(from_logits=config["from_logits"])


def is_hypermodel(model: Any) -> bool:
    """Whether an object is a ``keras_tuner.HyperModel``."""
    return any(kind.__name__ == "HyperModel" for kind in type(model).__mro__)


def _takes_hp(model: Any) -> bool:
    """Whether a callable has one parameter to fill, where ours have two."""
    if not isinstance(model, Callable) or isinstance(model, keras.Model | type):
        return False
    try:
        parameters = inspect.signature(model).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    return len(needed) == 1 and (len(positional) == 1 or needed[0].name == "hp")
