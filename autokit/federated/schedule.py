"""Who takes part in a round, and in which batches a client meets its rows: the same everywhere.

Both are pure functions of the seed, the round and the client, so that every engine, in whichever
process, trains on the same batches.
"""

from __future__ import annotations

import hashlib

import numpy as np

_SAMPLING, _BATCHES, _SEED, _NOISE, _FAULTS, _PACKING = range(6)  # what a seed is for


def generator(seed: int, purpose: int, round_number: int, client: int = 0) -> np.random.Generator:
    """A generator of its own for a purpose, a round, and a client."""
    if seed >> 56:  # secret ones of private trainings
        return np.random.default_rng([seed, purpose, round_number, client])
    key = np.array([seed << 8 | purpose, round_number << 32 | client], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def public_seed(seed: int) -> int:
    """A seed that follows from another, and does not tell it."""
    digest = hashlib.sha256(b"autokit.federated" + str(seed).encode()).digest()
    return int.from_bytes(digest[:6])


def batches(
    seed: int,
    round_number: int,
    client: int,
    n_rows: int,
    *,
    local_epochs: int,
    batch_size: int,
) -> list[np.ndarray]:
    """The rows of each local step of a client.

    Parameters
    ----------
    seed : int
        Of the training.
    round_number, client : int
    n_rows : int
        Of the client.
    local_epochs : int
        Each in an order of its own.
    batch_size : int
        The last batch of an epoch has what is left.

    Returns
    -------
    list of np.ndarray of int32
        Places among the client's rows.
    """
    rng = generator(seed, _BATCHES, round_number, client)
    steps = []
    for _ in range(local_epochs):
        order = rng.permutation(n_rows).astype(np.int32)
        steps += [order[i : i + batch_size] for i in range(0, n_rows, batch_size)]
    return steps


def lots(
    seed: int,
    round_number: int,
    client: int,
    n_rows: int,
    *,
    local_epochs: int,
    batch_size: int,
) -> list[np.ndarray]:
    """As `batches`, but each row takes part in each step with probability ``batch_size / n_rows``.

    As accountants of single rows suppose (Poisson sampling): steps have different numbers of rows,
    perhaps none.
    """
    rng = generator(seed, _BATCHES, round_number, client)
    n_steps = local_epochs * -(-n_rows // batch_size)
    rate = min(1.0, batch_size / n_rows)
    return [np.flatnonzero(rng.random(n_rows) < rate).astype(np.int32) for _ in range(n_steps)]


def client_seed(seed: int, round_number: int, client: int) -> np.ndarray:
    """Where the random generators of a client's network start, uint32 of shape (2,)."""
    return np.random.SeedSequence([seed, _SEED, round_number, client]).generate_state(2)


def noise_generator(seed: int, round_number: int) -> np.random.Generator:
    """What draws the server's noise of a round."""
    return generator(seed, _NOISE, round_number)


def packing_generator(seed: int, round_number: int, client: int) -> np.random.Generator:
    """What rounds a client's update at random."""
    return generator(seed, _PACKING, round_number, client)


def fault_generator(seed: int, round_number: int) -> np.random.Generator:
    """What decides which clients of a simulation fail."""
    return generator(seed, _FAULTS, round_number)


def drawn(
    seed: int,
    round_number: int,
    n_clients: int,
    per_round: int | None = None,
    rate: float | None = None,
) -> np.ndarray:
    """The clients of a round, sorted.

    Parameters
    ----------
    seed, round_number, n_clients : int
    per_round : int, default=None
        So many without replacement; None takes all.
    rate : float, default=None
        Each with this probability for itself (Poisson sampling): perhaps none.
    """
    rng = generator(seed, _SAMPLING, round_number)
    if rate is not None:
        return np.flatnonzero(rng.random(n_clients) < rate)
    if per_round is None or per_round >= n_clients:
        return np.arange(n_clients)
    return np.sort(rng.choice(n_clients, per_round, replace=False))
