"""Parameters of the federated estimators: what they may be, and what they say."""

from __future__ import annotations

from numbers import Integral, Real
from typing import ClassVar

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from autokit._backend import keras
from autokit.federated.aggregators import AGGREGATORS
from autokit.federated.algorithms import ALGORITHMS
from autokit.federated.communication import COMMUNICATIONS
from autokit.federated.engines import ENGINES
from autokit.federated.steps import ServerStep
from autokit.privacy import DifferentialPrivacy


class _Number(Interval):
    """An interval without booleans, which Python takes for 0 and 1."""

    def is_satisfied_by(self, val):
        return not isinstance(val, bool) and super().is_satisfied_by(val)


_POSITIVE = _Number(Integral, 1, None, closed="left")

PARAMETERS_DOC = """
    Parameters
    ----------
    model : keras.Model, callable or None, default=None
        As of `autokit.{plain}`: a model that is trained on from its weights, a function of
        ``(input_shape, n_outputs)``, or None for a default network on standardised inputs (with
        group normalisation in the place of batch normalisation under `privacy`). What it was
        compiled with is not looked at: the loss is the cross-entropy of classes or the mean
        squared error of numbers, and optimizers are those of the clients and the server.
    algorithm : str or FederatedAlgorithm, default="fedavg"
        "fedavg", "fedsgd", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad" or "scaffold";
        an instance such as ``FedProx(mu=0.1)`` has settings of its own.
    engine : {{"embedded", "tff", "flower"}} or FederatedEngine, default="embedded"
        Where rounds run: in this process; in TensorFlow Federated, which ``autokit tff install``
        installs; or in Flower's processes (``pip install 'autokit[flower]'``), on this machine.
    n_rounds : int, default=50
    clients_per_round : int, float in (0, 1] or None, default=None
        How many clients a round draws, or which share of all; None is all. With `privacy` each
        client is drawn for itself with that probability.
    local_epochs : int, default=1
        Passes of a client over its rows in a round.
    batch_size : int, default=32
        Of a client's steps; the last of an epoch has what is left.
    client_learning_rate : float or None, default=None
        Of the clients' SGD; None is 0.1 for classes and 0.02 for numbers.
    server_optimizer : str, keras.optimizers.Optimizer, ServerStep or None, default=None
        The server's step along the mean update: "sgd", "adam", "adagrad", or a Keras optimizer of
        these kinds. None is the algorithm's own.
    privacy : DifferentialPrivacy or None, default=None
        Clip and noise the updates so that the model tells little of any client, or of any row
        (``level="example"``: accounted for the client whose rows spend most, as if it took part
        in every round). The noise is such that `n_rounds` rounds spend the budget, and no round
        goes beyond it. Not accounted for, so not to be published: what the estimator learns before
        the first round (columns, scaling, classes), validation data, and `history_`, which has
        exact losses and who took part. Whoever knows `random_state` can tell the noise; None takes
        it from the operating system. See `autokit.privacy.DifferentialPrivacy`.
    aggregator : str or Aggregator, default="mean"
        "mean", "median", "trimmed_mean", "krum", "multi_krum" or "norm_clipping": what makes one
        update of many. All but the mean hold against some hostile clients.
    communication : str, Communication or None, default=None
        "quantized" or "top_k": what updates lose on their way to the server. None sends float32.
    batch_norm : {{"average", "local"}}, default="average"
        "local" leaves batch normalisation, statistics and weights, to each client (FedBN, Li et
        al. 2021); `model_` has the mean of them, and `evaluate_clients` each client's own. It
        changes nothing in a network without batch normalisation.
    callbacks : keras.callbacks.Callback, list of them or None, default=None
        A round is their epoch. Those that change an optimizer's learning rate have none to change,
        and are refused.
    random_state : int, RandomState or None, default=None
        Seeds weights, clients drawn, the order of their rows, dropout and noise.
    verbose : int, default=0
        1 shows a progress bar.
"""

ATTRIBUTES_DOC = """
    Attributes
    ----------
    model_ : keras.Model
        A plain model with the server's weights. It exports like any other.
    history_ : dict of list
        A value per round: loss{score} over the rows trained on, as they were met; `clients`, the
        names of those that took part; `dropped`, why others did not, by name; `bytes_down` and
        `bytes_up`; with privacy `epsilon`, what is spent so far; with ``validation_data``
        `val_loss` and `val_score`.{units}
    n_rounds_ : int
        Rounds done, those of `partial_fit` too.
    client_names_ : list
        Of the last training.
    ledger_ : Ledger
        With privacy: what all rounds have spent, see `autokit.privacy.Ledger`.
    encoder_, target_, n_features_in_, feature_names_in_
        See `autokit.base.KerasEstimator`.
"""


class FederatedParameters:
    """What is checked of the parameters."""

    _parameter_constraints: ClassVar[dict] = {
        "model": [None, callable, keras.Model],
        "algorithm": [StrOptions(set(ALGORITHMS)), HasMethods(["objective", "server"])],
        "engine": [StrOptions(set(ENGINES)), HasMethods(["check", "open"])],
        "n_rounds": [_POSITIVE],
        "clients_per_round": [None, _POSITIVE, _Number(Real, 0, 1, closed="right")],
        "local_epochs": [_POSITIVE],
        "batch_size": [_POSITIVE],
        "client_learning_rate": [None, _Number(Real, 0, None, closed="neither")],
        "server_optimizer": [None, str, ServerStep, keras.optimizers.Optimizer],
        "privacy": [None, DifferentialPrivacy],
        "aggregator": [StrOptions(set(AGGREGATORS)), HasMethods(["limited", "combine"])],
        "communication": [
            None, StrOptions(set(COMMUNICATIONS)), HasMethods(["pack", "unpack"])
        ],
        "batch_norm": [StrOptions({"average", "local"})],
        "callbacks": [None, list, tuple, keras.callbacks.Callback],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }  # fmt: skip

    def __init__(
        self,
        model=None,
        algorithm="fedavg",
        *,
        engine="embedded",
        n_rounds=50,
        clients_per_round=None,
        local_epochs=1,
        batch_size=32,
        client_learning_rate=None,
        server_optimizer=None,
        privacy=None,
        aggregator="mean",
        communication=None,
        batch_norm="average",
        callbacks=None,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.algorithm = algorithm
        self.engine = engine
        self.n_rounds = n_rounds
        self.clients_per_round = clients_per_round
        self.local_epochs = local_epochs
        self.batch_size = batch_size
        self.client_learning_rate = client_learning_rate
        self.server_optimizer = server_optimizer
        self.privacy = privacy
        self.aggregator = aggregator
        self.communication = communication
        self.batch_norm = batch_norm
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
