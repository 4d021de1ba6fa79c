"""NASClassifier and NASRegressor: architecture search as scikit-learn estimators."""

from __future__ import annotations

import copy
import math
import time
from typing import Any, Self

import numpy as np
from joblib import effective_n_jobs

from autokit.base import BaseKerasClassifier, BaseKerasRegressor
from autokit.names import described
from autokit.nas.evaluators import EVALUATORS, Task, TrainEvaluator
from autokit.nas.hardware import HardwareAware, HardwareConstraints, check_feasible
from autokit.nas.hardware.constraints import check_objectives
from autokit.nas.job import SearchJob, fingerprint, is_one_shot, stored_seed
from autokit.nas.parameters import PARAMETERS_DOC, NASParameters
from autokit.nas.result import SearchResult
from autokit.nas.schedule import SCHEDULES
from autokit.nas.search import derived_seed
from autokit.nas.spaces import SPACES, NB201Space
from autokit.nas.storage import SearchStorage
from autokit.nas.warmup import WarmUp
from autokit.training import Batch, split

AUTO_STEPS, AUTO_EPOCHS = 300, (15, 100)
WARM_UP = 4  # the stream of its random numbers


class _Searching(NASParameters):
    """The lifecycle that the classifier and the regressor share."""

    best_architecture_: Any
    search_result_: SearchResult

    def fit(self, X, y, sample_weight=None) -> Self:
        """Search an architecture for rows `X` and targets `y`, and train it.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
            A table, images or sequences, see `autokit.base.KerasEstimator.fit`.
        y : array of shape (n_samples,) or, for regression, (n_samples, n_outputs)
        sample_weight : array of shape (n_samples,), default=None
            Non-negative; weighs rows in training and in the validation loss.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            `X`, `y` or a parameter is not what it must be, or the storage belongs to another
            search.
        OSError
            The storage cannot be written.
        SearchFailed
            Every trial failed; the message tells the first cause.
        """
        self._started = time.monotonic()
        try:
            return super().fit(X, y, sample_weight)
        finally:
            del self._started

    @property
    def pareto_front_(self):
        """The evaluations that no other is as good as in all objectives, a row each."""
        return self.search_result_.pareto_front()

    def _train(self, data: Batch) -> None:
        if len(data) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 rows, one to train and one to validate; "
                f"got n_samples = {len(data)}."
            )
        seed = self._search_seed()
        space = self._space()
        training, validation = split(
            data, self.validation_fraction, seed % 2**32, stratify=self._stratifies
        )
        task = Task(
            training,
            validation,
            tuple(self.encoder_.encoded_shape_),
            self._n_outputs(data),
            self._output_activation,
            self._loss,
        )
        trainer = self._trainer(space, task)
        epochs = self._epochs(len(training))
        evaluator = self._evaluator(space, task, trainer)
        storage = self._open_storage(data, space, epochs, seed)
        hardware = self._hardware(evaluator, space, task)
        if hardware is not None:
            evaluator, space = hardware, self._searched(hardware, seed)
        space, starts = self._warmed_up(space, task, seed)
        job = SearchJob(
            space=space,
            method=self._method(),
            evaluator=evaluator,
            trainer=trainer,
            data=data,
            schedule=self._schedule(epochs),
            started=self._started,
            time_budget_s=self.time_budget_s,
            max_trials=self.max_trials,
            refit=self.refit,
            n_jobs=effective_n_jobs(self.n_jobs),
            seed=seed,
            storage=storage,
            verbose=self.verbose,
            hardware=hardware,
            start=tuple(starts),
        )
        self.search_result_, trained = job.run()
        self.best_architecture_ = self.search_result_.best.architecture
        self.model_ = trained.model
        self.history_ = trained.result.history

    def _search_seed(self) -> int:
        if self.storage is not None and self.random_state is None:
            # a resumed search must draw what the interrupted one drew
            stored = stored_seed(self.storage)
            return self._seed() if stored is None else stored
        return self._seed()

    def _space(self):
        shape = tuple(self.encoder_.encoded_shape_)
        space = self.space
        if isinstance(space, str):
            if space == "auto":
                is_image = self.encoder_.kind_ == "image" and min(shape[:2]) >= 8
                space = "cnn" if is_image else "mlp"
                if is_image and is_one_shot(self._method()):
                    return NB201Space(n_cells=1)
            space = SPACES[space]()
        check = getattr(space, "check_input", None)
        if check is not None:
            check(shape)
        return space

    def _trainer(self, space, task) -> TrainEvaluator:
        rate = float(self.learning_rate)
        return TrainEvaluator(space, task, batch_size=int(self.batch_size), learning_rate=rate)

    def _evaluator(self, space, task, trainer):
        evaluator = self.evaluator
        if isinstance(evaluator, str):
            evaluator = EVALUATORS[evaluator]
        if evaluator is TrainEvaluator:
            return trainer
        return evaluator(space, task) if isinstance(evaluator, type) else evaluator

    def _hardware(self, evaluator, space, task) -> HardwareAware | None:
        if self.constraints is None and not self._has_several_objectives:
            return None
        return HardwareAware(
            evaluator,
            space,
            task,
            self.constraints or HardwareConstraints(),
            self.objectives,
            deployed=self._with_model,
        )

    def _searched(self, hardware, seed: int):
        """The space without what is known to be beyond the limits; an error if that is all."""
        costing, rng = hardware.costing, np.random.default_rng(seed)
        space = costing.feasible_space()
        if space is not costing.space:
            check_feasible(space, costing.cheap_violation, rng, explain=costing.explain_cheap)
        return space

    def _warmed_up(self, space, task, seed: int):
        if self.proxy is None:
            return space, ()
        warm_up = self.proxy if isinstance(self.proxy, WarmUp) else WarmUp(self.proxy)
        return warm_up.prepare(space, task, np.random.default_rng(derived_seed(seed, WARM_UP)))

    def _with_model(self, model):
        """This estimator around a network of the search: what its file would hold."""
        deployed = copy.copy(self)
        deployed.model_, deployed.output_activation_ = model, None
        return deployed

    def _schedule(self, epochs: int):
        schedule = self.schedule
        if schedule == "auto":  # a rung knows scores only, and would end what is small and good
            schedule = "full" if self._has_several_objectives else "halving"
        return (SCHEDULES[schedule] if isinstance(schedule, str) else schedule)(epochs)

    def _epochs(self, n_rows: int) -> int:
        if self.epochs != "auto":
            return int(self.epochs)
        steps = math.ceil(n_rows / self.batch_size)
        low, high = AUTO_EPOCHS
        return min(high, max(low, math.ceil(AUTO_STEPS / steps)))

    def _open_storage(self, data, space, epochs, seed) -> SearchStorage | None:
        if self.storage is None:
            return None
        parameters = {
            "task": self._loss,
            "space": described(space),
            "strategy": described(self.strategy),
            "evaluator": described(self.evaluator),
            "schedule": described(self.schedule),
            "constraints": described(self.constraints),
            "objectives": list(check_objectives(self.objectives)),
            "proxy": described(self.proxy),
            "epochs": epochs,
            "batch_size": int(self.batch_size),
            "learning_rate": float(self.learning_rate),
            "validation_fraction": float(self.validation_fraction),
            "n_jobs": effective_n_jobs(self.n_jobs),
            "random_state": seed,
        }
        return SearchStorage(self.storage, fingerprint(data, parameters))


_ATTRIBUTES_DOC = """
    best_architecture_ : object
        A value of the space, for example a `CNNArchitecture`.
    search_result_ : SearchResult
        Every evaluation: ``to_frame()``, ``plot_history()``, ``best``; with several objectives
        ``hypervolume()`` and ``plot_pareto()``.
    pareto_front_ : pandas.DataFrame
        The evaluations that no other is as good as in all objectives.
    history_ : dict of list of float
        Loss per epoch of the training of `model_`.
    encoder_, target_, n_features_in_, feature_names_in_
        See `autokit.base.KerasEstimator`.
"""


class NASClassifier(_Searching, BaseKerasClassifier):
    __doc__ = (
        """A classifier that finds its own network.

    Trains candidates of a search space on a part of the rows, scores them by accuracy on the
    rest (ties by the loss), and trains the best on all rows.
"""
        + PARAMETERS_DOC
        + """
    Attributes
    ----------
    model_ : keras.Model
        From encoded rows to class probabilities.
    classes_ : np.ndarray of shape (n_classes,)"""
        + _ATTRIBUTES_DOC
        + """
    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from autokit import NASClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = NASClassifier(max_trials=2, time_budget_s=None, random_state=0).fit(X, y)
    >>> len(clf.search_result_.to_frame())
    2
    """
    )

    _output_activation = "softmax"
    _loss = "sparse_categorical_crossentropy"
    _stratifies = True

    def _train(self, data):
        super()._train(data)
        self.output_activation_ = None

    def _n_outputs(self, data):
        return len(self.classes_)


class NASRegressor(_Searching, BaseKerasRegressor):
    __doc__ = (
        """A regressor that finds its own network, for one target or several.

    Trains candidates of a search space on a part of the rows, scores them by R2 on the rest, and
    trains the best on all rows. Targets are standardised for training.
"""
        + PARAMETERS_DOC
        + """
    Attributes
    ----------
    model_ : keras.Model
        From encoded rows to standardised targets."""
        + _ATTRIBUTES_DOC
        + """
    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from autokit import NASRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = NASRegressor(max_trials=2, time_budget_s=None, random_state=0).fit(X, y)
    >>> reg.predict(X[:3]).shape
    (3,)
    """
    )

    _output_activation = "linear"
    _loss = "mean_squared_error"
    _stratifies = False

    def _n_outputs(self, data):
        return data.y.shape[1]
