"""The parameters that the continual estimators share, and what is said about them."""

from __future__ import annotations

import textwrap
from numbers import Integral, Real

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from autokit._backend import keras
from autokit.continual.strategies import STRATEGIES
from autokit.fitting import OPTIMIZERS

STRATEGY_NAMES = ("\n" + 8 * " ").join(textwrap.wrap(", ".join(map(repr, STRATEGIES)), 84))
PARAMETERS_DOC = """
    Parameters
    ----------
    model : keras.Model, callable or None, default=None
        As for `autokit.KerasClassifier`; it must end in a dense layer, which grows. A softmax
        after it is taken off.
    strategy : str or Strategy, default="auto"
        What keeps the past: {strategies}; or an instance, or several by
        `autokit.continual.chain`. "auto" is {auto}.
    scenario : {scenarios}, default="auto"
        "task": each task has an output head of its own, and `predict` is told the task.
        {others}
        "auto" takes "task" if the first experience names its task, and one head otherwise; see
        ``scenario_``.
    memory_size : int, default=1000
        Rows that strategies with a memory may keep, of all experiences together.
    epochs : int, default=10
        Of each experience.
    batch_size : int, default=32
        As many rows of the memory join each batch.
    optimizer : str or keras.optimizers.Optimizer, default="adam"
        Its state is carried from experience to experience.
    learning_rate : float or None, default=None
        None keeps the optimizer's own (0.001 for Adam).
    validation_fraction : float in [0, 1), default=0.1
        Share of each experience's rows (at most 1,000; none of fewer than 20) that is held out
        and kept, to measure what is forgotten. 0 measures nothing.
    random_state : int, RandomState or None, default=None
        Seeds weights, the order of rows, the memory and what is held out.
    verbose : int, default=0
        1 shows a progress bar for each experience.
"""

ATTRIBUTES_DOC = """
    model_ : keras.Model
        The network that answers{answers}.
    strategy_ : Strategy
    scenario_ : str
    tasks_ : list
        The task of each experience; its number where it had no name.
    score_matrix_ : np.ndarray of shape (n_experiences, n_experiences)
        ``[i, j]``: {score} on held-out rows of experience j after learning i; NaN where not
        measured. ``[j - 1, j]`` is what was known before.
    {average} : float
        Mean of the last row.
    forgetting_, backward_transfer_, forward_transfer_ : float
        See `autokit.continual.metrics`.
    state_size_bytes_ : int
        What is kept for experiences to come besides the weights of ``model_``: the strategy's
        state, the memory, the optimizer's moments, the rows held out.
    history_ : dict of list of float
        Loss{accuracy} of every epoch of every experience.
    encoder_, target_, n_features_in_, feature_names_in_
        See `autokit.base.KerasEstimator`.
"""


class ContinualParameters:
    """Parameters of `ContinualModel` and `ContinualRegressor`."""

    _parameter_constraints: dict = {
        "model": [None, callable, keras.Model],
        "strategy": [StrOptions({"auto", *STRATEGIES}), HasMethods(["objective", "after"])],
        "memory_size": [Interval(Integral, 0, None, closed="left")],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions(OPTIMIZERS), keras.optimizers.Optimizer],
        "learning_rate": [None, Interval(Real, 0, None, closed="neither")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model=None,
        strategy="auto",
        *,
        scenario="auto",
        memory_size=1000,
        epochs=10,
        batch_size=32,
        optimizer="adam",
        learning_rate=None,
        validation_fraction=0.1,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.strategy = strategy
        self.scenario = scenario
        self.memory_size = memory_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose
