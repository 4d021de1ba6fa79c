"""What the federated classifier and regressor share: rounds, from rows to a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import _check_partial_fit_first_call
from sklearn.utils.validation import check_is_fitted

from autokit._backend import keras
from autokit.base import KerasEstimator
from autokit.federated import engines
from autokit.federated.aggregators import AGGREGATORS
from autokit.federated.algorithms import ALGORITHMS
from autokit.federated.arguments import (
    about,
    checked_callbacks,
    checked_ids,
    concatenated,
    grouped,
    made,
)
from autokit.federated.clients import ArrayClients, Sources, StoredClients, survey
from autokit.federated.columns import in_order
from autokit.federated.communication import COMMUNICATIONS
from autokit.federated.engines import ENGINES
from autokit.federated.evaluation import judge_of, scores_of
from autokit.federated.ledgers import going_on
from autokit.federated.own_normalization import averaged, weights_of
from autokit.federated.parameters import FederatedParameters
from autokit.federated.private import private_rounds
from autokit.federated.protocols import (
    Aggregator,
    Clients,
    Communication,
    FederatedAlgorithm,
    Federation,
    ServerState,
)
from autokit.federated.steps import step_of
from autokit.federated.training import Rounds, adopted, run_rounds
from autokit.federated.weights import WeightLayout, structure_of
from autokit.preprocessing import check_lengths
from autokit.privacy import Ledger
from autokit.training import Forward
from autokit.training.building import build_model
from autokit.training.private import with_group_normalization
from autokit.training.progress import EpochProgress

_OWN = ("_state", "_run_seed", "_forward")


class FederatedEstimator(FederatedParameters, KerasEstimator):
    """Trains one model on rows that stay with their clients; for classes and for numbers."""

    _default_activation: str
    _default_rate: float

    history_: dict[str, list]
    n_rounds_: int
    client_names_: list
    ledger_: Ledger

    def fit(self, X, y, client_ids=None, *, sample_weight=None, validation_data=None) -> Self:
        """Train on a table whose rows belong to clients.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
            As for `autokit.KerasClassifier.fit`.
        y : array of shape (n_samples,) or, for regression, (n_samples, n_outputs)
        client_ids : array of shape (n_samples,), default=None
            The client of each row, by text or by int. None gives all rows to one client, whose
            rounds are epochs of SGD.
        sample_weight : array of shape (n_samples,), default=None
            Non-negative, in the clients' losses; a row of weight 0 counts as absent.
        validation_data : tuple of (X, y), default=None
            Rows of the server, on which each round's model is judged.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            An argument or a parameter is not what it must be.
        TrainingDiverged
            No client of a round had a finite update. The rounds before it are kept.

        Notes
        -----
        If anything ends the training before its first round is over, the estimator is as it was.
        """
        self._validate_params()
        with self._tried(afresh=True):
            ids = checked_ids(client_ids, X, y, sample_weight)
            data = self._encode_new(X, y, sample_weight)
            self._begin()
            return self._go_on(ArrayClients(data, ids), int(self.n_rounds), validation_data)

    def partial_fit(self, X, y, client_ids=None, *, classes=None, sample_weight=None) -> Self:
        """Train one more round, going on from those before.

        Parameters
        ----------
        X, y, client_ids, sample_weight
            As for `fit`; the first call fixes the columns and the scaling. Clients that were there
            before, by name, go on with what they kept.
        classes : array of shape (n_classes,), default=None
            All classes that will ever come; needed in the first call only, and only if `y` does
            not hold all of them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`; or the rounds before had no `privacy`, and this one is to have it.
        PrivacyBudgetSpent
            The rounds before have left nothing of the budget of `privacy`.
        """
        self._validate_params()
        is_first = not hasattr(self, "model_")
        with self._tried(afresh=is_first):
            ids = checked_ids(client_ids, X, y, sample_weight)
            if is_first:
                data = self._encode_new(X, y, sample_weight, classes)
                self._begin()
            else:
                if classes is not None and hasattr(self, "classes_"):
                    _check_partial_fit_first_call(self, classes)
                data = self._encode_more(X, y, sample_weight)
            return self._go_on(ArrayClients(data, ids), 1, None)

    def fit_clients(self, clients, *, validation_data=None, resume=False) -> Self:
        """Train on clients whose rows are apart, and need not fit into memory.

        Columns and scaling are learnt from the first clients, up to some 16 MiB of rows; the
        targets of all clients are looked at once. Columns of DataFrames are found by name.

        Parameters
        ----------
        clients : mapping of name to source, or iterable of sources
            A source is a pair ``(X, y)``, the path of an ``.npz`` file with the arrays `X` and
            `y`, or a function without arguments that returns a pair; files and functions are read
            when a round needs them. An iterator is read once, its pairs into a temporary folder.
        validation_data : tuple of (X, y), default=None
            Rows of the server, on which each round's model is judged.
        resume : bool, default=False
            Go on with `n_rounds` more from what was trained before.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A source is not what it must be; the message names the client.
        OSError
            A file cannot be read, or the temporary folder has no room. One that cannot be read
            later is left out of the rounds, with a `FederatedWarning`.
        TrainingDiverged
            No client of a round had a finite update. The rounds before it are kept.
        """
        self._validate_params()
        go_on = resume and hasattr(self, "model_")
        with self._tried(afresh=not go_on):
            sources = Sources(clients)
            sizes = self._surveyed(sources, go_on)
            names = getattr(self, "feature_names_in_", None)
            stored = StoredClients(
                sources, sizes, lambda X, y: self._encode_more(in_order(X, names), y, None)
            )
            return self._go_on(stored, int(self.n_rounds), validation_data)

    def _surveyed(self, sources: Sources, go_on: bool) -> np.ndarray:
        """Learn from all clients what must be known before the first round; return their sizes."""
        if go_on:
            name = type(self).__name__
            sizes, _, sample = survey(sources, lambda y: self.target_.encode(y, name))
            with about(f"client {sources.names[0]!r}"):
                self._encode(in_order(sample[0], getattr(self, "feature_names_in_", None))[:1])
            return sizes
        sizes, targets, sample = survey(sources, self._target_of)
        first = np.concatenate(targets[: len(sample)])
        self._encode_new(concatenated(sample), first, None, self._classes_of(targets))
        self._encode_new_target(np.concatenate(targets), None)
        self._begin()
        return sizes

    def evaluate_clients(self, X, y=None, client_ids=None) -> pd.DataFrame:
        """Score the model on each client's rows.

        Parameters
        ----------
        X : array or DataFrame, or clients as of `fit_clients`
        y, client_ids : arrays of shape (n_samples,)
            Of a table X; leave them out for clients.

        Returns
        -------
        DataFrame
            A row for each client, by name: n_rows, score, and loss, in the units of the training
            as in `history_`. With ``batch_norm="local"`` a client that took part is scored with
            its own batch normalisation.

        Raises
        ------
        ValueError
            Rows are others than were fitted; the message names the client.
        """
        check_is_fitted(self)
        if y is None and client_ids is not None:
            raise ValueError("y is None, but client_ids is given; pass the target of each row.")
        if y is None:
            sources = Sources(X)
            pairs = ((name, sources.read(i)) for i, name in enumerate(sources.names))
        else:
            if client_ids is None:
                raise ValueError(
                    "client_ids is None; pass the client of each row, or a mapping of clients as "
                    "the only argument."
                )
            check_lengths(X, y)
            pairs = grouped(X, y, checked_ids(client_ids, X, y))
        return scores_of(self, pairs)

    @contextmanager
    def _tried(self, afresh: bool) -> Iterator[None]:
        """A training; of one that begins afresh and ends before a round is over nothing is left."""
        before = vars(self).copy()
        if afresh:
            self._forget()
        try:
            yield
        except BaseException:
            if afresh and not getattr(self, "n_rounds_", 0):
                vars(self).clear()
                vars(self).update(before)
            raise

    def _forget(self) -> None:
        for name in [n for n in vars(self) if n.endswith("_") or n in _OWN]:
            delattr(self, name)

    def _begin(self) -> None:
        """A network and a server's state before the first round."""
        self._run_seed = self._seed()
        model = build_model(
            self.model,
            self.encoder_.kind_,
            self.encoder_.encoded_shape_,
            self._n_outputs(),
            self._default_activation,
            self._run_seed,
            accepts=self._accepts_width,
        )
        if self.model is None and self.privacy is not None:
            model = with_group_normalization(model, self._run_seed)
        self.model_ = model
        self._built(model)
        self._state = ServerState(WeightLayout.of(model).vector(model))
        self.history_, self.n_rounds_ = {}, 0

    def _go_on(self, clients: Clients, n_rounds: int, validation_data) -> Self:
        """Run rounds; whatever ends them, what was finished is in the estimator."""
        before = getattr(self, "ledger_", None)
        ledger = going_on(self.privacy, before, self._state.round)
        state = adopted(self._state, self._weights_of(self._state), self.model_)
        self._state = state
        if self.batch_norm != "local":
            state = averaged(state, self.model_)
        callbacks = checked_callbacks(self.callbacks)
        federation = self._federation(clients)
        engine = self._engine()
        engine.check(federation)
        judge = judge_of(self, validation_data)
        done = Rounds(state, self.history_, ledger)
        try:
            run_rounds(
                federation,
                engine,
                done,
                n_rounds,
                per_round=self._per_round(len(clients)),
                model=self.model_,
                callbacks=[*callbacks, *([EpochProgress("round")] if self.verbose else [])],
                weights_of=self._weights_of,
                judge=judge,
            )
        finally:
            if done.state.round > state.round:
                self._state, self.n_rounds_ = done.state, done.state.round
                self.client_names_ = list(clients.names)
                self.__dict__.pop("ledger_", None)
            if done.ledger is not None:
                self.ledger_ = done.ledger
            federation.layout.write(self.model_, self._weights_of(self._state))
            self._forward = Forward(self.model_, self._finish())
        return self

    def _federation(self, clients: Clients) -> Federation:
        algorithm = made("algorithm", self.algorithm, ALGORITHMS, FederatedAlgorithm)
        layout = WeightLayout.of(self.model_)
        federation = Federation(
            model=self.model_,
            loss=self.training_loss(),
            clients=clients,
            algorithm=algorithm,
            aggregator=made("aggregator", self.aggregator, AGGREGATORS, Aggregator),
            learning_rate=float(self.client_learning_rate or self._default_rate),
            local_epochs=int(self.local_epochs),
            batch_size=int(self.batch_size),
            seed=self._run_seed,
            layout=layout,
            server_step=None if self.server_optimizer is None else step_of(self.server_optimizer),
            batch_norm=self.batch_norm,
            communication=made("communication", self.communication, COMMUNICATIONS, Communication),
            structure=structure_of(self.model_, self._constraints()),
        )
        return private_rounds(
            federation,
            self.privacy,
            self._per_round(len(clients)),
            int(self.n_rounds),
            secret=self.random_state is None,
        )

    def _per_round(self, n_clients: int) -> int | None:
        asked = self.clients_per_round
        if asked is None:
            return None
        if not isinstance(asked, Integral):
            return max(1, round(asked * n_clients))
        return min(int(asked), n_clients)

    def _engine(self):
        if isinstance(self.engine, str):
            return getattr(engines, ENGINES[self.engine])()
        return made("engine", self.engine, {})

    def _weights_of(self, state: ServerState) -> np.ndarray:
        return weights_of(state, self.model_)

    def _standardizes(self) -> bool:
        return self.model is None

    def _accepts_width(self, width, n_outputs) -> bool:
        return width == n_outputs

    def _built(self, model: keras.Model) -> None:
        pass

    def _n_outputs(self) -> int:
        raise NotImplementedError

    def _target_of(self, y) -> Any:
        """What is learnt of one client's targets; raises what is wrong with them."""
        raise NotImplementedError

    def _classes_of(self, targets: list) -> Any:
        return None

    def _judged(self, outputs: np.ndarray, y) -> tuple[float, float]:
        """Score and mean loss of what the compiled forward gave."""
        raise NotImplementedError
