"""The lifecycle that all compression methods share."""

from __future__ import annotations

import copy
import inspect
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from autokit._backend import keras
from autokit.compression.report import CompressionReport, Weights
from autokit.compression.task import Task, task_of_estimator, task_of_model
from autokit.training import Batch, Held


class CompressionWarning(UserWarning):
    """A compression cost more of the score than was allowed."""


@dataclass(frozen=True)
class Outcome:
    """What a method makes of a task.

    Attributes
    ----------
    model : keras.Model
        The compressed network, from the same inputs to the same outputs.
    held : Held
        What further training must keep, in places of ``model.variables``.
    details : dict
        For the report; numbers and texts.
    """

    model: keras.Model
    held: Held = field(default_factory=Held)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False, repr=False)
class CompressionMethod(BaseEstimator):
    """What all methods share; a subclass implements ``_compress(task) -> Outcome``.

    Parameters
    ----------
    epochs : int, default=10
        Of tuning after (or while) the network is compressed.
    batch_size : int or None, default=None
        None is the estimator's.
    learning_rate : float or None, default=None
        Of tuning, at the start of a cosine to zero; None is the estimator's.
    validation_fraction : float in (0, 1), default=0.2
        Share of the rows that judge the result and are not tuned on, unless validation rows
        are given.
    max_score_drop : float or None, default=None
        A larger loss of accuracy (or R2), as a difference of scores, gives a
        `CompressionWarning`.
    random_state : int, RandomState or None, default=None
    """

    epochs: int = 10
    batch_size: int | None = None
    learning_rate: float | None = None
    validation_fraction: float = 0.2
    max_score_drop: float | None = None
    random_state: Any = None

    _parameter_constraints = {
        "epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [None, Interval(Integral, 1, None, closed="left")],
        "learning_rate": [None, Interval(Real, 0, None, closed="neither")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "max_score_drop": [None, Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def _compress(self, task: Task) -> Outcome:
        raise NotImplementedError

    def apply(self, estimator: Any, X: Any, data: Batch) -> None:
        """Compress an estimator's network in place, as the last step of its ``fit``.

        Parameters
        ----------
        estimator : estimator
            Its ``model_`` is replaced; ``held_`` and ``compression_report_`` are set.
        X : array-like
            Its training rows.
        data : Batch
            The same, encoded, with their targets.
        """
        self._validate_params()
        seed = self._seed(estimator)
        task = task_of_estimator(estimator, X, data, None, self.validation_fraction, seed)
        _commit(estimator, *self._run(task, earlier_reports(estimator)))

    def compress(self, estimator_or_model: Any, X: Any, y: Any, validation_data=None) -> Any:
        """Return a compressed copy.

        Parameters
        ----------
        estimator_or_model : estimator or keras.Model
            Fitted; it stays as it is.
        X, y : array-like
            Rows and targets as ``fit`` takes them, to tune on.
        validation_data : tuple (X, y), default=None
            Rows to judge by; by default a share of `X` is held out for it.

        Returns
        -------
        estimator or keras.Model
            Of the same class, with ``compression_report_``.

        Raises
        ------
        ValueError
            If a parameter or the rows are not what they must be.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        self._validate_params()
        if isinstance(estimator_or_model, keras.Model):
            return self._compress_model(estimator_or_model, X, y, validation_data)
        estimator = checked_estimator(estimator_or_model, type(self).__name__)
        data = estimator._encode_more(X, y, None)
        validation = None
        if validation_data is not None:
            validation = estimator._encode_more(*validation_data, None)
        task = task_of_estimator(
            estimator, X, data, validation, self.validation_fraction, self._seed(estimator)
        )
        compressed = copy.copy(estimator)
        _commit(compressed, *self._run(task, earlier_reports(estimator)))
        return compressed

    def _compress_model(self, model, X, y, validation_data):
        data = _plain_batch(X, y)
        validation = None if validation_data is None else _plain_batch(*validation_data)
        task = task_of_model(model, data, validation, self.validation_fraction, self._seed(None))
        task.held = getattr(model, "held_", Held())
        outcome, report = self._run(task, earlier_reports(model))
        outcome.model.held_, outcome.model.compression_report_ = outcome.held, report
        constraints = outcome.held.constraints()
        if constraints is not None:
            constraints.attach(outcome.model)  # so that Keras' own fit keeps the structure too
        return outcome.model

    def _run(self, task: Task, path: tuple) -> tuple[Outcome, CompressionReport]:
        started = time.perf_counter()
        if self.batch_size is not None:
            task.batch_size = self.batch_size
        if self.learning_rate is not None:
            task.learning_rate = self.learning_rate
        before, score_before = Weights.of(task.model), task.score()
        outcome = self._compress(task)
        after, score_after = Weights.of(outcome.model), task.score(outcome.model)
        report = CompressionReport.between(
            before,
            after,
            method=type(self).__name__,
            metric="accuracy" if task.classifies else "R2",
            score_before=score_before,
            score_after=score_after,
            n_rows=len(task.validation),
            seconds=time.perf_counter() - started,
            details=outcome.details,
            path=path,
        )
        self._warn(report)
        return outcome, report

    def _warn(self, report: CompressionReport) -> None:
        if self.max_score_drop is not None and report.score_drop > self.max_score_drop:
            warnings.warn(
                f"{report.method} cost {report.score_drop:.4f} of the {report.metric} "
                f"({report.score_before:.4f} to {report.score_after:.4f} on {report.n_rows} rows), "
                f"more than max_score_drop={self.max_score_drop:g}; compress less, or tune for "
                "more epochs.",
                CompressionWarning,
                stacklevel=4,
            )

    def _seed(self, estimator: Any) -> int:
        state = self.random_state
        if state is None:
            state = getattr(estimator, "random_state", None)
        return int(check_random_state(state).randint(np.iinfo(np.int32).max))


def as_verb(method: type[CompressionMethod], name: str, summary: str) -> Callable:
    """The function of a method's name and parameters.

    Parameters
    ----------
    method : type
        A subclass of `CompressionMethod`.
    name : str
        Of the function.
    summary : str
        First line of its docstring.

    Returns
    -------
    callable
        ``(estimator_or_model, X, y, *, validation_data=None, **parameters)``.
    """

    def verb(estimator_or_model, X, y, *, validation_data=None, **parameters):
        return method(**parameters).compress(estimator_or_model, X, y, validation_data)

    kinds = inspect.Parameter
    own = [kinds(n, kinds.POSITIONAL_OR_KEYWORD) for n in ("estimator_or_model", "X", "y")]
    own.append(kinds("validation_data", kinds.KEYWORD_ONLY, default=None))
    parameters = list(inspect.signature(method).parameters.values())
    verb.__signature__ = inspect.Signature([*own, *parameters])
    verb.__name__ = verb.__qualname__ = name
    verb.__module__ = method.__module__
    verb.__doc__ = f"""{summary}

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        Fitted; it stays as it is.
    X, y : array-like
        Rows and targets as ``fit`` takes them, to tune on.
    validation_data : tuple (X, y), default=None
        Rows to judge by; by default a share of `X` is held out for it.
    **parameters
        Those of `{method.__name__}`.

    Returns
    -------
    estimator or keras.Model
        A compressed copy of the same class, with ``compression_report_``.

    See Also
    --------
    {method.__name__} : The parameters, the errors and an example.
    """
    return verb


def _commit(estimator: Any, outcome: Outcome, report: CompressionReport) -> None:
    estimator.__dict__.pop("_forward", None)
    estimator.__dict__.pop("_optimizer_state", None)  # of the network as it was
    estimator.model_ = outcome.model
    estimator.held_ = outcome.held
    estimator.compression_report_ = report


def earlier_reports(compressed: Any) -> tuple[CompressionReport, ...]:
    """The reports of all compressions that an estimator or a model has gone through."""
    report = getattr(compressed, "compression_report_", None)
    return () if report is None else (*report.path, report)


def checked_estimator(estimator: Any, verb: str) -> Any:
    """Return a fitted estimator, or say what is wrong with it."""
    if not hasattr(estimator, "training_loss"):
        raise TypeError(
            "estimator_or_model must be a fitted estimator of autokit or a keras.Model, got a "
            f"{type(estimator).__name__}; of a Pipeline, compress its last step."
        )
    if not hasattr(estimator, "model_"):
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(
            f"estimator_or_model: this {type(estimator).__name__} is not fitted yet; call fit "
            f"before {verb}."
        )
    if hasattr(estimator, "privacy_spent_") or hasattr(estimator, "ledger_"):
        raise ValueError(
            f"estimator_or_model: this {type(estimator).__name__} keeps a privacy budget, and "
            f"{verb} would train on the rows once more, without noise. Export it in a smaller "
            "format, which reads no rows: autokit.export_tflite(estimator, path, "
            "quantization='float16')."
        )
    return estimator


def _plain_batch(X: Any, y: Any) -> Batch:
    x, y = np.asarray(X), np.asarray(y)
    if len(x) != len(y):
        raise ValueError(f"X and y must have as many rows; got {len(x)} and {len(y)}.")
    x = x.astype(np.float32) if x.dtype.kind == "f" else x
    return Batch(x, y.astype(np.float32) if y.dtype.kind == "f" else y)
