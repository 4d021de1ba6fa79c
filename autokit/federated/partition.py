"""Who has which rows: simulated clients made of one table.

Each function returns `client_ids`, the client of each row, as `FederatedTrainer.fit` takes them.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

TRIES = 1000  # draws until every client has enough rows


def partition_iid(n_samples_or_y, n_clients, *, random_state=None) -> np.ndarray:
    """Deal the rows out at random: all clients alike.

    Parameters
    ----------
    n_samples_or_y : int or array of shape (n_samples, ...)
        How many rows there are, or their targets.
    n_clients : int
        At most `n_samples`; sizes differ by one row at most.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    np.ndarray of int of shape (n_samples,)
        From 0 to ``n_clients - 1``; every client has a row.

    Raises
    ------
    ValueError
        There are fewer rows than clients.

    References
    ----------
    McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    AISTATS 2017, section 3, "IID".

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.federated import partition_iid
    >>> np.bincount(partition_iid(10, 3, random_state=0)).tolist()
    [4, 3, 3]
    """
    if isinstance(n_samples_or_y, Integral):
        n_samples = int(n_samples_or_y)
    else:
        n_samples = len(_targets(n_samples_or_y, "n_samples_or_y", any_shape=True))
    n_clients = _count("n_clients", n_clients)
    _enough(n_samples, n_clients, 1)
    rng = check_random_state(random_state)
    return rng.permutation(np.arange(n_samples) % n_clients)


def partition_by_labels(y, n_clients, *, shards_per_client=2, random_state=None) -> np.ndarray:
    """Give each client rows of a few labels only.

    The rows are sorted by label and cut into ``n_clients * shards_per_client`` shards of equal
    size (to a row), which are dealt out at random. A client has about as many labels as shards.

    Parameters
    ----------
    y : array of shape (n_samples,)
        Labels; numbers to regress on are sorted all the same.
    n_clients : int
    shards_per_client : int, default=2
        The paper's number; fewer are harder.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    np.ndarray of int of shape (n_samples,)
        From 0 to ``n_clients - 1``; every client has `shards_per_client` rows or more.

    Raises
    ------
    ValueError
        There are fewer rows than shards.

    References
    ----------
    McMahan et al., AISTATS 2017, section 3, "Non-IID": 200 shards of 300 digits, two for each of
    100 clients. Rows of a label are shuffled before they are cut, where the paper leaves it open.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.federated import partition_by_labels
    >>> y = np.repeat([0, 1, 2, 3], 25)
    >>> client_ids = partition_by_labels(y, 10, random_state=0)
    >>> max(len(set(y[client_ids == k].tolist())) for k in range(10)) <= 4
    True
    """
    _, codes = _labels(y)
    n_clients = _count("n_clients", n_clients)
    shards = n_clients * _count("shards_per_client", shards_per_client)
    if len(codes) < shards:
        raise ValueError(
            f"y has {len(codes)} rows, but n_clients * shards_per_client = {shards} shards need a "
            "row each; lower n_clients or shards_per_client."
        )
    rng = check_random_state(random_state)
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    owners = rng.permutation(np.arange(shards) % n_clients)
    client_ids = np.empty(len(codes), np.int64)
    client_ids[order] = owners[np.arange(len(codes)) * shards // len(codes)]
    return client_ids


def partition_dirichlet(y, n_clients, *, alpha=0.5, min_rows=1, random_state=None) -> np.ndarray:
    """Divide the rows of each label among the clients in proportions of their own.

    ``p_label ~ Dirichlet(alpha, ..., alpha)``, of length `n_clients`, for each label; client k has
    a share ``p_label[k]`` of its rows. Both labels and sizes differ between clients.

    Parameters
    ----------
    y : array of shape (n_samples,)
        Labels.
    n_clients : int
    alpha : float > 0, default=0.5
        0.1 leaves most clients with one or two labels, 100 makes all alike.
    min_rows : int, default=1
        Proportions are drawn anew until every client has so many rows.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    np.ndarray of int of shape (n_samples,)
        From 0 to ``n_clients - 1``.

    Raises
    ------
    ValueError
        So many rows for every client cannot be had, or have not come up in a thousand draws.

    Notes
    -----
    Hsu et al. draw proportions over labels for each client, and all clients have the same size;
    that runs out of rows of a label before its last clients are served, whose proportions are then
    others than drawn. This is the variant that draws, for each label, proportions over the clients
    (Yurochkin et al.): all rows are dealt out, once, and none against what was drawn. It is also
    what later comparisons use (Li et al.).

    References
    ----------
    Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", 2019, section 3.

    Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks", ICML 2019,
    section 4; Li et al., "Federated Learning on Non-IID Data Silos: An Experimental Study", ICDE
    2022, section IV-A, "Distribution-based label imbalance".

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.federated import partition_dirichlet
    >>> y = np.repeat([0, 1, 2], 100)
    >>> client_ids = partition_dirichlet(y, 4, alpha=0.1, random_state=0)
    >>> counts = np.array([np.bincount(y[client_ids == k], minlength=3) for k in range(4)])
    >>> int(counts.sum()), bool(counts.max() > 60)
    (300, True)
    """
    labels, codes = _labels(y)
    n_clients, min_rows = _count("n_clients", n_clients), _count("min_rows", min_rows, 0)
    alpha = _positive("alpha", alpha)
    _enough(len(codes), n_clients, min_rows)
    rng = check_random_state(random_state)
    totals = np.bincount(codes, minlength=len(labels))
    for _ in range(TRIES):
        shares = _dirichlet(rng, alpha, n_clients, len(labels))
        cuts = np.rint(np.cumsum(shares, axis=1) * totals[:, None]).astype(np.int64)
        cuts[:, -1] = totals
        counts = np.diff(cuts, axis=1, prepend=0)  # (n_labels, n_clients)
        if counts.sum(axis=0).min() >= min_rows:
            break
    else:
        raise ValueError(
            f"In {TRIES} draws some of the n_clients={n_clients} always had fewer than "
            f"min_rows={min_rows} rows; raise alpha (it is {alpha:g}), or lower n_clients or "
            "min_rows."
        )
    client_ids = np.empty(len(codes), np.int64)
    for label in range(len(labels)):
        places = rng.permutation(np.flatnonzero(codes == label))
        client_ids[places] = np.repeat(np.arange(n_clients), counts[label])
    return client_ids


def partition_by_quantity(y, n_clients, *, alpha=0.5, min_rows=1, random_state=None) -> np.ndarray:
    """Deal the rows out at random, to clients of very different sizes.

    ``q ~ Dirichlet(alpha, ..., alpha)``, of length `n_clients`; client k has a share ``q[k]`` of
    the rows, drawn without regard to their labels, and `min_rows` more.

    Parameters
    ----------
    y : int or array of shape (n_samples, ...)
        How many rows there are, or their targets.
    n_clients : int
    alpha : float > 0, default=0.5
        0.1 gives a few clients nearly everything, 100 makes all alike.
    min_rows : int, default=1
        Of every client, before the shares are dealt out. (The paper draws anew until all have
        them, which never ends for many clients and a small alpha.)
    random_state : int, RandomState or None, default=None

    Returns
    -------
    np.ndarray of int of shape (n_samples,)
        From 0 to ``n_clients - 1``.

    Raises
    ------
    ValueError
        There are not so many rows for every client.

    References
    ----------
    Li et al., "Federated Learning on Non-IID Data Silos: An Experimental Study", ICDE 2022,
    section IV-C, "Quantity skew".

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.federated import partition_by_quantity
    >>> sizes = np.bincount(partition_by_quantity(1000, 5, min_rows=10, random_state=0))
    >>> int(sizes.sum()), bool(sizes.max() > 2 * sizes.min())
    (1000, True)
    """
    n_samples = int(y) if isinstance(y, Integral) else len(_targets(y, "y", any_shape=True))
    n_clients, min_rows = _count("n_clients", n_clients), _count("min_rows", min_rows, 0)
    alpha = _positive("alpha", alpha)
    _enough(n_samples, n_clients, min_rows)
    rng = check_random_state(random_state)
    shares = _dirichlet(rng, alpha, n_clients, 1)[0]
    rest = n_samples - n_clients * min_rows
    cuts = np.rint(np.cumsum(shares) * rest).astype(np.int64)
    cuts[-1] = rest
    sizes = min_rows + np.diff(cuts, prepend=0)
    return rng.permutation(np.repeat(np.arange(n_clients), sizes))


def _dirichlet(rng, alpha: float, n_clients: int, n_draws: int) -> np.ndarray:
    """Draws of shape (n_draws, n_clients)."""
    shares = rng.dirichlet(np.full(n_clients, alpha), n_draws)
    # below some 0.001 all gamma variables of a draw underflow: then one client has all
    empty = ~(shares.sum(axis=1) > 0.5)
    shares[empty] = np.eye(n_clients)[rng.randint(n_clients, size=int(empty.sum()))]
    return shares


def _targets(y, name: str, any_shape: bool = False) -> np.ndarray:
    y = np.asarray(y)
    if y.ndim != 1 and not (any_shape and y.ndim):
        raise ValueError(
            f"{name} must be of shape (n_samples,), the label of each row; got {y.shape}."
        )
    return y


def _labels(y) -> tuple[np.ndarray, np.ndarray]:
    y = _targets(y, "y")
    if y.dtype.kind == "f" and np.isnan(y).any():
        raise ValueError("y has NaN; label every row, or leave those without a label out.")
    try:
        return np.unique(y, return_inverse=True)
    except TypeError as error:
        raise ValueError("y must be all texts or all numbers; got a mixture.") from error


def _count(name: str, value, least: int = 1) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"The '{name}' parameter must be an int in the range [{least}, inf). Got {value!r} "
            "instead."
        )
    return int(value)


def _positive(name: str, value) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value < np.inf:
        raise ValueError(
            f"The '{name}' parameter must be a float in the range (0, inf). Got {value!r} instead."
        )
    return float(value)


def _enough(n_samples: int, n_clients: int, min_rows: int) -> None:
    if n_samples < n_clients * min_rows or n_samples < 1:
        raise ValueError(
            f"{n_samples} rows are too few for n_clients={n_clients} of {min_rows} or more each; "
            f"lower n_clients{' or min_rows' if min_rows > 1 else ''}."
        )
