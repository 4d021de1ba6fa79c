"""The picture of a comparison of exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.figure


def figure_of(comparison: Any) -> matplotlib.figure.Figure:
    """Draw an :class:`~autokit.deploy.compare.ExportComparison`.

    Parameters
    ----------
    comparison : ExportComparison
        With one row for each quantisation.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels of bars on one axis of quantisations: size with the zipped part in it,
        score with Keras' own as a line, latency. A quantisation without a file has no bar.
    """
    from matplotlib.figure import Figure

    rows = comparison.rows
    places = range(len(rows))
    figure = Figure(figsize=(10, 1.6 + 0.42 * len(rows)), layout="constrained")
    sizes, scores, latencies = figure.subplots(1, 3, sharey=True)
    for axes, values, form in (
        (sizes, [_kb(row.size_bytes) for row in rows], "{:.1f}"),
        (scores, [row.score for row in rows], "{:.4f}"),
        (latencies, [row.latency_ms for row in rows], "{:.3f}"),
    ):
        bars = axes.barh(places, [0.0 if v is None else v for v in values], color="tab:blue")
        labels = ["" if v is None else form.format(v) for v in values]
        on_white = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over Keras' line
        axes.bar_label(bars, labels, padding=3, bbox=on_white, zorder=3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.25)
    sizes.barh(places, [_kb(row.zipped_bytes) or 0.0 for row in rows], 0.35, color="tab:orange")
    sizes.set_xlabel("size, kB (thin: zipped)")
    score_name = {"accuracy": "accuracy", "r2": "R2"}[comparison.score_name]
    scores.axvline(comparison.keras_score, color="black", linewidth=0.8, linestyle="--")
    scores.set_xlabel(f"{score_name} of {comparison.n_rows} rows (dashed: Keras)")
    known = [row.score for row in rows if row.score is not None] + [comparison.keras_score]
    # Bars of accuracy that start at 0 would all look alike.
    room = max(max(known) - min(known), 0.01)
    scores.set_xlim(min(known) - 2 * room, max(known) + 2 * room)
    latencies.set_xlabel("median of one row, ms")
    for place, row in zip(places, rows, strict=True):
        if row.failure is not None:
            sizes.text(0, place, " no file", va="center", color="tab:red")
    sizes.set_yticks(places, [row.quantization for row in rows])
    sizes.invert_yaxis()
    return figure


def _kb(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / 1000
