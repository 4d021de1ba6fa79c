"""NASClassifier and NASRegressor: architecture search as scikit-learn estimators."""

from __future__ import annotations

import functools
import math
import time
from numbers import Integral, Real
from typing import Any, Self

from joblib import effective_n_jobs
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from autokit.base import BaseKerasClassifier, BaseKerasRegressor
from autokit.nas.evaluators import EVALUATORS, Task, TrainEvaluator
from autokit.nas.job import SearchJob, fingerprint, stored_seed
from autokit.nas.names import by_name
from autokit.nas.result import SearchResult
from autokit.nas.schedule import SuccessiveHalving
from autokit.nas.spaces import SPACES
from autokit.nas.storage import SearchStorage, check_storage
from autokit.nas.strategies import STRATEGIES
from autokit.training import Batch, split

AUTO_STEPS, AUTO_EPOCHS = 300, (15, 100)


class _NASParameters:
    """Parameters and training that the classifier and the regressor share."""

    _parameter_constraints: dict = {
        "space": "no_validation",
        "strategy": "no_validation",
        "evaluator": "no_validation",
        "max_trials": [None, Interval(Integral, 1, None, closed="left")],
        "time_budget_s": [None, Interval(Real, 0, None, closed="neither")],
        "epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "refit": ["boolean"],
        "storage": "no_validation",
        "n_jobs": [None, Integral],
        "compression": [None, HasMethods(["apply"])],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    best_architecture_: Any
    search_result_: SearchResult

    def __init__(
        self,
        space="auto",
        *,
        strategy="local_search",
        evaluator="train",
        max_trials=None,
        time_budget_s=60.0,
        epochs="auto",
        batch_size=64,
        learning_rate=3e-3,
        validation_fraction=0.2,
        refit=True,
        storage=None,
        n_jobs=None,
        compression=None,
        random_state=None,
        verbose=0,
    ):
        self.space = space
        self.strategy = strategy
        self.evaluator = evaluator
        self.max_trials = max_trials
        self.time_budget_s = time_budget_s
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.refit = refit
        self.storage = storage
        self.n_jobs = n_jobs
        self.compression = compression
        self.random_state = random_state
        self.verbose = verbose

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

    def _validate_params(self) -> None:
        super()._validate_params()
        name = type(self).__name__
        if self.max_trials is None and self.time_budget_s is None:
            raise ValueError(
                f"The 'max_trials' and 'time_budget_s' parameters of {name} must not both be "
                "None, or the search would never end; set at least one of them."
            )
        if self.n_jobs == 0:
            raise ValueError(
                f"The 'n_jobs' parameter of {name} must not be 0; set 1, or -1 for all processors."
            )
        if not hasattr(self.space, "sample"):
            by_name("space", self.space, {**SPACES, "auto": None}, "a SearchSpace")
        if not callable(self.strategy):
            by_name("strategy", self.strategy, STRATEGIES, "a function (space, rng) -> strategy")
        if not callable(self.evaluator):
            by_name("evaluator", self.evaluator, EVALUATORS, "an Evaluator")
        if self.storage is not None:
            check_storage(self.storage)

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
        job = SearchJob(
            space=space,
            strategy=STRATEGIES.get(self.strategy, self.strategy),
            evaluator=self._evaluator(space, task, trainer),
            trainer=trainer,
            data=data,
            schedule=SuccessiveHalving(epochs),
            started=self._started,
            time_budget_s=self.time_budget_s,
            max_trials=self.max_trials,
            refit=self.refit,
            n_jobs=effective_n_jobs(self.n_jobs),
            seed=seed,
            storage=self._open_storage(data, space, epochs, seed),
            verbose=self.verbose,
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
            space = SPACES[space]()
        check = getattr(space, "check_input", None)
        if check is not None:
            check(shape)
        return space

    def _trainer(self, space, task) -> TrainEvaluator:
        rate = float(self.learning_rate)
        return TrainEvaluator(space, task, batch_size=int(self.batch_size), learning_rate=rate)

    def _evaluator(self, space, task, trainer):
        evaluator = EVALUATORS.get(self.evaluator, self.evaluator)
        if evaluator is TrainEvaluator:
            return trainer
        return evaluator(space, task) if isinstance(evaluator, type) else evaluator

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
            "space": _describe(space),
            "strategy": _describe(self.strategy),
            "evaluator": _describe(self.evaluator),
            "epochs": epochs,
            "batch_size": int(self.batch_size),
            "learning_rate": float(self.learning_rate),
            "validation_fraction": float(self.validation_fraction),
            "n_jobs": effective_n_jobs(self.n_jobs),
            "random_state": seed,
        }
        return SearchStorage(self.storage, fingerprint(data, parameters))


def _describe(part) -> str:
    """A description that is the same in the next process."""
    if isinstance(part, str):
        return part
    if isinstance(part, functools.partial):
        return f"{_describe(part.func)}{part.args}{part.keywords}"
    if hasattr(part, "__qualname__"):
        return f"{part.__module__}.{part.__qualname__}"
    text = repr(part)
    return f"{type(part).__module__}.{type(part).__qualname__}" if " at 0x" in text else text


_PARAMETERS_DOC = """
    Parameters
    ----------
    space : {"auto", "cnn", "mlp"} or SearchSpace, default="auto"
        Where to look. "auto" is "cnn" for images from 8x8 up and "mlp" for anything else.
    strategy : {"evolution", "local_search", "random"} or callable, default="local_search"
        What to try next. "local_search" makes the most of a hundred trials or fewer. A
        strategy's class, or a function ``(space, rng) -> SearchStrategy``, for example
        ``functools.partial(RegularizedEvolution, population_size=20)``.
    evaluator : "train" or Evaluator, default="train"
        How a candidate is judged. "train" trains it on a part of the rows; candidates that are
        behind at a ninth or a third of the epochs stop there (`SuccessiveHalving`).
    max_trials : int or None, default=None
        Candidates at most. With `random_state` and ``time_budget_s=None`` the result is the same,
        bit for bit, in every run on one machine.
    time_budget_s : float or None, default=60.0
        Seconds for the whole of `fit`, the refit included; None is no clock.
    epochs : int or "auto", default="auto"
        Of a full training. "auto" makes at least 300 steps: 15 epochs for large data, 100 for
        tiny.
    batch_size : int, default=64
    learning_rate : float, default=0.003
        Of Adam at the start; a cosine takes it to zero.
    validation_fraction : float in (0, 1), default=0.2
        Share of the rows that judge candidates.
    refit : bool, default=True
        Train the best architecture once more on all rows. If there is no time left for it, or
        with False, the model is the one that the search trained.
    storage : path or None, default=None
        A file that makes the search durable: every finished trial is on disk before the next
        begins, and a new `fit` with the same data and parameters goes on from there. More
        `max_trials` or `time_budget_s` continue a search that was complete.
    n_jobs : int or None, default=None
        Candidates trained at the same time, in threads; -1 is one per processor.
    compression : method of autokit.compression or None, default=None
        Compresses the found network as the last step of `fit`, outside the time budget.
    random_state : int, RandomState or None, default=None
    verbose : int, default=0
        1 shows the search live: trial, incumbent's score, budget left, share of pruned trials.
"""

_ATTRIBUTES_DOC = """
    best_architecture_ : object
        A value of the space, for example a `CNNArchitecture`.
    search_result_ : SearchResult
        Every evaluation: ``to_frame()``, ``plot_history()``, ``best``.
    history_ : dict of list of float
        Loss per epoch of the training of `model_`.
    encoder_, target_, n_features_in_, feature_names_in_
        See `autokit.base.KerasEstimator`.
"""


class NASClassifier(_NASParameters, BaseKerasClassifier):
    __doc__ = (
        """A classifier that finds its own network.

    Trains candidates of a search space on a part of the rows, scores them by accuracy on the
    rest (ties by the loss), and trains the best on all rows.
"""
        + _PARAMETERS_DOC
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


class NASRegressor(_NASParameters, BaseKerasRegressor):
    __doc__ = (
        """A regressor that finds its own network, for one target or several.

    Trains candidates of a search space on a part of the rows, scores them by R2 on the rest, and
    trains the best on all rows. Targets are standardised for training.
"""
        + _PARAMETERS_DOC
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
