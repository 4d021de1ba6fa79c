"""What `NASClassifier` and `NASRegressor` take, and the check of it."""

from __future__ import annotations

from numbers import Integral, Real

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from autokit.names import by_name
from autokit.nas.evaluators import EVALUATORS
from autokit.nas.evaluators.proxies import PROXIES
from autokit.nas.hardware.constraints import HardwareConstraints, check_objectives
from autokit.nas.job import is_one_shot
from autokit.nas.oneshot import ONESHOT
from autokit.nas.schedule import SCHEDULES
from autokit.nas.spaces import SPACES
from autokit.nas.storage import check_storage
from autokit.nas.strategies import STRATEGIES
from autokit.nas.warmup import WarmUp

METHODS = STRATEGIES | ONESHOT
DEFAULT = "bayesian"


class NASParameters:
    """The parameters that the classifier and the regressor share."""

    _parameter_constraints: dict = {
        "space": "no_validation",
        "strategy": "no_validation",
        "evaluator": "no_validation",
        "schedule": "no_validation",
        "constraints": [None, HardwareConstraints],
        "objectives": "no_validation",
        "proxy": "no_validation",
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

    def __init__(
        self,
        space="auto",
        *,
        strategy="auto",
        evaluator="train",
        schedule="auto",
        constraints=None,
        objectives=("score",),
        proxy=None,
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
        self.schedule = schedule
        self.constraints = constraints
        self.objectives = objectives
        self.proxy = proxy
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
            known = {**METHODS, "auto": None}
            by_name("strategy", self.strategy, known, "a function (space, rng) -> strategy")
        if not callable(self.schedule):
            by_name("schedule", self.schedule, {**SCHEDULES, "auto": None}, "epochs -> Schedule")
        if (
            self.proxy is not None
            and not isinstance(self.proxy, WarmUp)
            and not callable(self.proxy)
        ):
            by_name("proxy", self.proxy, PROXIES, "a WarmUp")
        check_objectives(self.objectives)
        if self.constraints is not None:
            self.constraints.check()
        if is_one_shot(self._method()) and (self.constraints or self._has_several_objectives):
            raise ValueError(
                f"The 'constraints' and 'objectives' parameters of {name} cannot be kept by a "
                "one-shot strategy; use evaluator='shared', which judges by a supernet's weights, "
                "with a strategy of trials."
            )
        if not callable(self.evaluator):
            by_name("evaluator", self.evaluator, EVALUATORS, "an Evaluator")
        if self.storage is not None:
            if is_one_shot(self._method()):
                raise ValueError(
                    f"The 'storage' parameter of {name} must be None with a one-shot strategy: "
                    "there are no trials to be stored."
                )
            check_storage(self.storage)

    def _method(self):
        """What the name of the strategy stands for."""
        if self.strategy == "auto":
            return METHODS[DEFAULT]
        return self.strategy if callable(self.strategy) else METHODS[self.strategy]

    @property
    def _has_several_objectives(self) -> bool:
        return len(check_objectives(self.objectives)) > 1


PARAMETERS_DOC = """
    Parameters
    ----------
    space : {"auto", "cell", "cnn", "mlp", "nb201"} or SearchSpace, default="auto"
        Where to look. "auto" is "cnn" for images from 8x8 up and "mlp" for anything else; for a
        one-shot strategy on images, ``NB201Space(n_cells=1)``, whose supernet is traced in
        seconds (that of "cell" takes minutes: give it the time).
    strategy : str or callable, default="auto"
        What to try next. Trials: "bayesian", "evolution", "local_search", "nsga2", "random",
        "reinforce", "tpe"; "auto" is "bayesian". A
        strategy's class, or a function ``(space, rng) -> SearchStrategy``, for example
        ``functools.partial(RegularizedEvolution, population_size=20)``. One-shot, for spaces with
        a supernet: "darts", "enas", or a function of their signature.
    evaluator : "train" or Evaluator, default="train"
        How a candidate is judged. "train" trains it on a part of the rows; candidates that are
        behind at a ninth or a third of the epochs stop there (`SuccessiveHalving`).
    schedule : {"auto", "full", "halving", "hyperband"} or callable, default="auto"
        Epochs of a candidate: all of them, or as many as it earns by its scores on the way. A
        schedule's class, or a function ``epochs -> Schedule``. "auto" is "halving", and "full"
        for several objectives.
    constraints : HardwareConstraints or None, default=None
        What the network may cost at most. It is measured, encoder included, before it is
        returned; see `autokit.nas.hardware.certify`.
    objectives : sequence of str, default=("score",)
        With several of "score", "latency_ms", "params", "flops", "size_bytes", "memory_bytes" the
        search looks for the `pareto_front_`, and `model_` is the best of it by score.
    proxy : str, WarmUp or None, default=None
        A zero-cost proxy that ranks random architectures before the search, which begins with
        the best of them; a `WarmUp` can also keep those out that rank low.
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
