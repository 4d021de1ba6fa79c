"""The server's step along the mean of the updates, as a value that every engine can read."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np

from autokit._backend import keras, tf
from autokit.training import UpdateRule, adagrad, adam, fed_adam, fed_yogi, sgd

RULES = {
    "sgd": sgd,
    "adam": adam,
    "adagrad": adagrad,
    "fed_adam": fed_adam,
    "fed_yogi": fed_yogi,
}

_NAMED = ("sgd", "adam", "adagrad")  # Keras' optimizers that are steps


@dataclass(frozen=True, init=False)
class ServerStep:
    """An update rule and its settings.

    Parameters
    ----------
    rule : str
        One of `RULES`, of `autokit.training.updates`.
    **settings : float or bool
        Of the rule: ``learning_rate`` and what else it takes.

    Attributes
    ----------
    rule : str
    settings : tuple of (str, value)
        All of the rule's arguments, defaults filled in.

    Raises
    ------
    ValueError
        There is no such rule.
    TypeError
        The rule has no such setting, or needs another.
    """

    rule: str
    settings: tuple

    def __init__(self, rule: str, **settings):
        if rule not in RULES:
            raise ValueError(
                f"The rule of a ServerStep must be one of {', '.join(map(repr, RULES))}; got "
                f"{rule!r}."
            )
        bound = inspect.signature(RULES[rule]).bind(**settings)
        bound.apply_defaults()
        object.__setattr__(self, "rule", rule)
        object.__setattr__(self, "settings", tuple(bound.arguments.items()))

    def __getitem__(self, name: str):
        return dict(self.settings)[name]

    def updater(self) -> UpdateRule:
        """The rule itself."""
        return RULES[self.rule](**dict(self.settings))

    def apply(
        self, params: np.ndarray, mean: np.ndarray, state: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Take one step on a vector of parameters, with the gradient ``-mean``.

        Parameters
        ----------
        params, mean : np.ndarray of float32 of shape (n_params,)
        state : list of np.ndarray
            Of the step before; empty before the first.

        Returns
        -------
        params : np.ndarray
        state : list of np.ndarray
        """
        if self.rule == "sgd" and not self["momentum"]:
            with np.errstate(over="ignore", invalid="ignore"):  # rounds look at what comes out
                return params + np.float32(self["learning_rate"]) * mean, []
        rule = self.updater()
        tensors = [tf.constant(params)]
        fresh = rule.init(tensors)
        before = (
            tf.nest.pack_sequence_as(fresh, [tf.constant(s) for s in state]) if state else fresh
        )
        changes, after = rule.update([tf.constant(-mean)], before, tensors)
        return params + changes[0].numpy(), [part.numpy() for part in tf.nest.flatten(after)]


def step_of(optimizer) -> ServerStep:
    """The step that a parameter `server_optimizer` stands for.

    Parameters
    ----------
    optimizer : ServerStep, str or keras.optimizers.Optimizer
        "sgd", "adam" or "adagrad", or an instance of one of these.

    Raises
    ------
    ValueError
        It is another optimizer, or one with clipping, weight decay or a schedule.
    """
    if isinstance(optimizer, ServerStep):
        return optimizer
    if isinstance(optimizer, str) and optimizer.lower() not in _NAMED:
        raise _no_step(repr(optimizer))
    given = keras.optimizers.get(optimizer)
    config = given.get_config()
    extras = [
        name
        for name in ("clipnorm", "clipvalue", "global_clipnorm", "weight_decay", "use_ema",
                     "gradient_accumulation_steps", "loss_scale_factor", "amsgrad")
        if config.get(name)
    ]  # fmt: skip
    if isinstance(config["learning_rate"], dict):
        extras.append("a learning-rate schedule")
    kind = type(given).__name__.lower()
    if kind not in _NAMED or extras:
        raise _no_step(type(given).__name__ + (f" with {', '.join(extras)}" if extras else ""))
    rate = float(config["learning_rate"])
    if kind == "sgd":
        return ServerStep(
            "sgd",
            learning_rate=rate,
            momentum=float(config["momentum"]),
            nesterov=bool(config["nesterov"]),
        )
    if kind == "adam":
        names = ("beta_1", "beta_2", "epsilon")
        return ServerStep("adam", learning_rate=rate, **{n: float(config[n]) for n in names})
    # Keras adds its epsilon below the root, where it is one with the initial value
    initial = float(config["initial_accumulator_value"]) + float(config["epsilon"])
    return ServerStep("adagrad", learning_rate=rate, epsilon=0.0, initial=initial)


def _no_step(got: str) -> ValueError:
    return ValueError(
        "The 'server_optimizer' parameter must be 'sgd', 'adam' or 'adagrad', a Keras optimizer of "
        f"these kinds without extras, or a ServerStep; got {got}. The algorithms 'fedadam', "
        "'fedyogi' and 'fedadagrad' bring their own."
    )
