"""Rounds with differential privacy for clients: clipping, noise, and what they spend."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autokit._backend import keras
from autokit.federated.protocols import Federation
from autokit.federated.schedule import public_seed
from autokit.federated.weights import flat_layers
from autokit.privacy import (
    AdaptiveClip,
    DifferentialPrivacy,
    Ledger,
    adapted,
    clip_rows,
    dp_accounting,
    epsilon_spent,
    noise_multiplier,
    split_noise,
    warn_of_delta,
)
from autokit.training.private import check_private

NORM = "norm"  # in `ServerState.privacy`


@dataclass(frozen=True)
class PrivateRounds:
    """How a federation's rounds hide clients, or rows.

    ::

        clients:  mean = (sum_k clip(delta_k, C) + N(0, (z C)^2)) / (expected clients)
        rows:     gradient_k = (sum_b clip(g_b, C) + N(0, (z C)^2)) / (expected rows)

    Where clients are hidden each takes part in a round with probability `sampling_rate`, and the
    server clips and adds the noise, whatever a client sends; one client more or less changes the
    sum by C. Where rows are hidden each
    takes part in a client's step with probability ``batch_size / n_rows``, and the client adds the
    noise before anything leaves it.

    Attributes
    ----------
    privacy : DifferentialPrivacy
    noise_multiplier : float
        z, such that the planned rounds spend the budget.
    sampling_rate : float in (0, 1]
        Of clients; or of the rows of the client that spends most.
    steps_per_round : int
        Steps that are accounted for: 1, or those of that client.
    clients_per_round : float
        Expected.
    n_params : int
        Numbers in an update; statistics behind them stay as they are (constants of a
        normalisation layer: what changes with rows is refused).
    secret : bool
        Whether noise and draws come from the operating system's entropy.

    References
    ----------
    McMahan, Ramage, Talwar, Zhang, "Learning Differentially Private Recurrent Language Models",
    ICLR 2018, algorithm 1, with a fixed denominator; Andrew et al., "Differentially Private
    Learning with Adaptive Clipping", 2021, for ``clip_norm="adaptive"``; for rows: Abadi et al.,
    "Deep Learning with Differential Privacy", CCS 2016, algorithm 1.
    """

    privacy: DifferentialPrivacy
    noise_multiplier: float
    sampling_rate: float
    steps_per_round: int
    clients_per_round: float
    n_params: int
    secret: bool = False

    @property
    def level(self) -> str:
        """Who is hidden."""
        return self.privacy.level

    @property
    def hides_clients(self) -> bool:
        """Whether clients are hidden, or rows only."""
        return self.privacy.level == "client"

    @property
    def clip_norm(self) -> float | str:
        """The norm that updates, or gradients, are clipped to, or "adaptive"."""
        return self.privacy.clip_norm

    @property
    def client_rate(self) -> float | None:
        """The probability with which each client is drawn for itself; None draws a number."""
        return self.sampling_rate if self.hides_clients else None

    def lots(self, n_rows: np.ndarray, batch_size: int, noise: float) -> np.ndarray:
        """Noise, clipping norm and expected rows of a step, for clients of so many rows."""
        lots = np.empty((len(n_rows), 3), np.float32)
        lots[:, 0], lots[:, 1] = noise, float(self.privacy.clip_norm)
        lots[:, 2] = np.minimum(n_rows, batch_size)
        return lots

    def norm(self, state: dict[str, float]) -> float:
        """The clipping norm of the next round."""
        if self.privacy.is_adaptive:
            return float(state.get(NORM, AdaptiveClip().norm))
        return float(self.privacy.clip_norm)

    def limited(self, deltas: np.ndarray, norm: float) -> tuple[np.ndarray, np.ndarray]:
        """Server: clipped updates of shape (n_clients, size), and which were longer."""
        deltas = deltas.copy()
        deltas[:, self.n_params :] = 0.0
        return clip_rows(deltas, norm)

    def release(
        self,
        total: np.ndarray,
        norm: float,
        n_within: float,
        n_answers: int,
        state: dict[str, float],
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Server: the noisy mean of clipped updates, and the state after it.

        Parameters
        ----------
        total : np.ndarray of shape (size,)
            The sum of them.
        norm : float
            They were clipped to.
        n_within, n_answers : float, int
            How many of how many were not longer.
        state : dict of str to float
        rng : np.random.Generator
        """
        noise, expected = self.noise_multiplier, self.clients_per_round
        if self.privacy.is_adaptive:
            clip = AdaptiveClip(norm=norm)
            noise = split_noise(noise, expected, clip)
            was_clipped = np.arange(n_answers) >= n_within
            state = state | {NORM: adapted(clip, was_clipped, expected, rng).norm}
        noisy = total.copy()
        noisy[: self.n_params] += rng.normal(0.0, noise * norm, self.n_params)
        return (noisy / expected).astype(np.float32), state

    def after_round(self, ledger: Ledger) -> Ledger:
        """The ledger with one more round entered."""
        return ledger.after(**self._step)

    def affords_round(self, ledger: Ledger) -> bool:
        """Whether the budget allows for one more round."""
        return ledger.affords(**self._step)

    def spent(self, ledger: Ledger) -> float:
        """Epsilon so far, as a bound that is quick to find."""
        # `affords_round` went by the exact figure: the bound's rounding is not spent
        return min(ledger.epsilon_bound, float(self.privacy.epsilon))

    @property
    def _step(self) -> dict[str, float]:
        return {
            "noise_multiplier": self.noise_multiplier,
            "sampling_rate": self.sampling_rate,
            "n_steps": self.steps_per_round,
        }


def private_rounds(
    federation: Federation,
    privacy: DifferentialPrivacy | None,
    per_round: int | None,
    n_rounds: int,
    *,
    secret: bool,
) -> Federation:
    """The federation with its rounds made private.

    Parameters
    ----------
    federation : Federation
    privacy : DifferentialPrivacy or None
    per_round : int or None
        Clients of a round; None is all.
    n_rounds : int
        That the budget is to last for.
    secret : bool
        Whether nobody needs to repeat the training: then who is drawn, and the noise, come from
        the operating system's entropy.

    Returns
    -------
    Federation
        Of clients that are still to come, its noise is not known.

    Raises
    ------
    ImportError
        dp-accounting is not installed.
    ValueError
        Something of the federation would tell of clients past the noise.
    """
    if privacy is None:
        return federation
    dp_accounting()
    _check(federation, privacy)
    n_clients, steps = len(federation.clients), 1
    expected = n_clients if per_round is None else per_round
    rate, noise = 1.0, float("nan")
    if n_clients and privacy.level == "client":
        warn_of_delta(privacy, n_clients, "clients", 5)
        rate = expected / n_clients
        noise = noise_multiplier(privacy, n_steps=n_rounds, sampling_rate=rate)
        if privacy.is_adaptive:
            split_noise(noise, expected)
    elif n_clients:
        sizes = np.asarray(federation.clients.sizes)
        warn_of_delta(privacy, int(sizes.sum()), "rows", 5)
        noise, rate, steps = _of_rows(federation, sizes[sizes > 0], privacy, n_rounds)
    seed = int(np.random.SeedSequence().entropy) if secret else federation.seed
    rounds = PrivateRounds(
        privacy, noise, rate, steps, expected, federation.layout.n_params, secret
    )
    # whoever knows the server's seed knows its noise
    of_clients = public_seed(seed) if privacy.level == "client" else None
    return replace(federation, privacy=rounds, seed=seed, client_seed=of_clients)


def _of_rows(federation, sizes, privacy, n_rounds) -> tuple[float, float, int]:
    """Noise, sampling rate and steps of the client whose rows spend most.

    A client of few rows draws each of them more often, one of more rows takes more steps. Of those
    that take as many steps the one with the fewest rows spends most.
    """
    size = federation.batch_size
    n_batches = -(-sizes // size)
    kinds = []
    for count in np.unique(n_batches):
        fewest = int(sizes[n_batches == count].min())
        kinds.append((min(1.0, size / fewest), federation.local_epochs * int(count)))
    worst = None
    for rate, steps in sorted(kinds, key=lambda kind: -kind[1] * kind[0] ** 2):
        planned = {"n_steps": n_rounds * steps, "sampling_rate": rate}
        if worst is not None:
            spent = epsilon_spent(privacy, noise_multiplier=worst[0], **planned)
            if spent <= privacy.epsilon:
                continue
        worst = noise_multiplier(privacy, **planned), rate, steps
    return worst


def _check(federation: Federation, privacy: DifferentialPrivacy) -> None:
    def refuse(what: str, cure: str) -> None:
        raise ValueError(f"The 'privacy' parameter is set, but {what}; {cure}.")

    normalizing = [
        layer.name
        for layer in flat_layers(federation.model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if normalizing:
        refuse(
            f"the layer {normalizing[0]!r} is a BatchNormalization, whose statistics carry rows to "
            "the server",
            "use GroupNormalization or LayerNormalization",
        )
    if privacy.level != "client":
        if privacy.is_adaptive:
            refuse("its clip_norm is 'adaptive', which follows clients", "give it a number")
        if federation.algorithm.whole_batch:
            refuse("the 'algorithm' parameter takes whole clients as batches", "take 'fedavg'")
        check_private(federation.model)
        return
    if federation.algorithm.has_variates:
        refuse(
            f"the 'algorithm' parameter is {type(federation.algorithm).__name__}, whose control "
            "variates are sent without noise",
            "take 'fedavg', 'fedprox' or a server optimizer",
        )
    if getattr(federation.communication, "error_feedback", False):
        refuse(
            f"the 'communication' parameter is {federation.communication!r}, whose error feedback "
            "keeps what is left of clients' updates without noise",
            "give it error_feedback=False",
        )
    if not type(federation.aggregator).__name__ == "Mean":
        refuse(
            f"the 'aggregator' parameter is {federation.aggregator!r}, and the noise is made for "
            "the mean of clipped updates",
            "leave it at 'mean'",
        )
