"""Pictures of who has which rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import matplotlib.figure

MOST_BARS = 30  # more clients have no room for a name each
MOST_LABELS = 20  # that a legend names


def plot_partition(y, client_ids, *, path=None, ax=None) -> matplotlib.figure.Figure:
    """Draw how many rows of each label every client has.

    Bars, one below the other, for up to 30 clients; for more a column each, sorted by size, so
    that the skew shows.

    Parameters
    ----------
    y : array of shape (n_samples,)
        Labels.
    client_ids : array of shape (n_samples,)
        The client of each row, see `partition_dirichlet` and its like.
    path : str, path-like or None, default=None
        Where to save the picture; its ending names the format.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; a figure of its own by default.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        `y` and `client_ids` are not of one length, or there are more than 100 labels.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.federated import partition_dirichlet, plot_partition
    >>> y = np.arange(300) % 3
    >>> figure = plot_partition(y, partition_dirichlet(y, 10, random_state=0))
    >>> figure.axes[0].get_xlabel()
    'rows'
    """
    from matplotlib.figure import Figure

    labels, clients, counts = _counted(y, client_ids)
    has_names = len(clients) <= MOST_BARS
    if ax is None:
        size = (7.5, 1.6 + 0.27 * max(len(clients), 6)) if has_names else (8.5, 4.2)
        ax = Figure(figsize=size, layout="constrained").subplots()
    figure = ax.get_figure()
    draw = _draw_bars if has_names else _draw_columns
    draw(ax, clients, counts, _colors(len(labels)), [str(label) for label in labels])
    if len(labels) <= MOST_LABELS:
        ax.legend(
            title="label",
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            frameon=False,
            reverse=not has_names,  # as they lie on each other
        )
    else:
        ax.set_title(f"{len(labels)} labels, from {labels[0]} (dark) to {labels[-1]} (bright)")
    (ax.xaxis if has_names else ax.yaxis).get_major_locator().set_params(integer=True)
    ax.spines[["top", "right"]].set_visible(False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _counted(y, client_ids) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, clients, and rows of each, (n_clients, n_labels)."""
    y, client_ids = np.asarray(y), np.asarray(client_ids)
    for name, given in (("y", y), ("client_ids", client_ids)):
        if given.ndim != 1 or not given.size:
            raise ValueError(f"{name} must be of shape (n_samples,); got {given.shape}.")
    if len(y) != len(client_ids):
        raise ValueError(
            f"y and client_ids must be of one length; got {len(y)} and {len(client_ids)}."
        )
    labels, codes = np.unique(y, return_inverse=True)
    if len(labels) > 100:
        raise ValueError(
            f"y has {len(labels)} different values, and no more than 100 can be told apart; bin "
            "them first, for example with pandas.qcut."
        )
    clients, owners = np.unique(client_ids, return_inverse=True)
    counts = np.zeros((len(clients), len(labels)), np.int64)
    np.add.at(counts, (owners, codes), 1)
    return labels, clients, counts


def _draw_bars(ax, clients, counts, colors, labels) -> None:
    ends = counts.cumsum(axis=1)
    places = np.arange(len(clients))
    for k, label in enumerate(labels):
        left = ends[:, k] - counts[:, k]
        ax.barh(places, counts[:, k], left=left, height=0.8, color=colors[k], label=label)
    ax.set_yticks(places, [str(client) for client in clients])
    ax.invert_yaxis()
    ax.set_xlabel("rows")
    ax.set_ylabel("client")
    ax.margins(y=0.01)


def _draw_columns(ax, clients, counts, colors, labels) -> None:
    counts = counts[np.argsort(-counts.sum(axis=1), kind="stable")]
    ends = counts.cumsum(axis=1)
    edges = np.arange(len(clients) + 1)
    for k, label in enumerate(labels):
        bottom = ends[:, k] - counts[:, k]
        ax.stairs(ends[:, k], edges, baseline=bottom, fill=True, color=colors[k], label=label)
    ax.set_xlabel(f"{len(clients)} clients, largest first")
    ax.set_ylabel("rows")
    ax.margins(x=0.005)


def _colors(n: int) -> list:
    """One for each label: of a palette of tones that differ, or along a scale."""
    import matplotlib

    if n <= 10:
        return list(matplotlib.colormaps["tab10"].colors[:n])
    if n <= 20:
        return list(matplotlib.colormaps["tab20"].colors[:n])
    return list(matplotlib.colormaps["viridis"](np.linspace(0, 1, n)))
