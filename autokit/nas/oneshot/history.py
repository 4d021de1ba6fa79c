"""What a one-shot method leaves beside the architecture it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd


@dataclass
class SupernetHistory:
    """The epochs of a supernet.

    Parameters
    ----------
    operations : tuple of str
    edges : tuple of str
        A name per edge.
    rows : list of dict
        One per epoch: its losses, rewards and seconds, what architecture the supernet stood for
        at its end, the count of each operation in it, and its share of skip connections.
    mixtures : list of np.ndarray of shape (n_edges, n_operations)
        After each epoch, the share of each operation on each edge: of DARTS the softmax, of ENAS
        how often the controller chooses it.
    children : tuple of (architecture, float)
        What was ranked by shared weights at the end, the best first.
    """

    operations: tuple[str, ...]
    edges: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    mixtures: list[np.ndarray] = field(default_factory=list)
    children: tuple = ()

    def to_frame(self) -> pd.DataFrame:
        """A row per epoch; the count of each operation has a column of its own."""
        import pandas as pd

        flat = []
        for row in self.rows:
            rest = {k: v for k, v in row.items() if k not in ("counts", "architecture")}
            flat.append(rest | row["counts"])
        return pd.DataFrame(flat)

    def record(self, supernet, mixture: np.ndarray, **more) -> None:
        """Take note of an epoch."""
        architecture = supernet.discretise(mixture)
        self.mixtures.append(mixture)
        self.rows.append(
            {
                "epoch": len(self.rows) + 1,
                **more,
                "architecture": architecture,
                "counts": supernet.counts(architecture),
                "skip_share": supernet.skip_share(architecture),
            }
        )

    def plot_alphas(self, path=None) -> matplotlib.figure.Figure:
        """Draw each edge's mixture over the epochs.

        Parameters
        ----------
        path : str, path-like or None, default=None
            Where to save the picture; its ending names the format.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure

        shares = np.stack(self.mixtures)  # (epochs, edges, operations)
        n_columns = min(4, len(self.edges))
        n_rows = -(-len(self.edges) // n_columns)
        figure = Figure(figsize=(3 * n_columns, 2.2 * n_rows + 0.8), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        epochs = np.arange(1, len(shares) + 1)
        for number, ax in enumerate(axes.flat):
            if number >= len(self.edges):
                ax.set_axis_off()
                continue
            lines = ax.plot(epochs, shares[:, number], marker="." if len(epochs) == 1 else None)
            ax.set_title(self.edges[number], fontsize=9)
        for ax in axes[-1]:
            ax.set_xlabel("epoch")
        for ax in axes[:, 0]:
            ax.set_ylabel("share")
        figure.legend(lines, self.operations, loc="outside lower center", ncols=5, fontsize=8)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure
