from __future__ import annotations

import numpy as np
import pytest

from autokit.nas import Evaluation, MLPArchitecture, SearchResult

NET = MLPArchitecture((8,), "relu", None, 0.0, False)


def _result(*rows):
    evaluations = [
        Evaluation(i, NET, score, loss, status, error="no" if status == "failed" else None)
        for i, (score, loss, status) in enumerate(rows)
    ]
    return SearchResult(tuple(evaluations), "max_trials")


@pytest.mark.parametrize(
    "rows, best",
    [
        ([(0.5, 1.0, "complete"), (0.6, 2.0, "complete")], 1),
        ([(0.5, 1.0, "complete"), (0.5, 0.9, "complete")], 1),
        ([(0.5, 1.0, "complete"), (0.5, 1.0, "complete")], 0),
        ([(0.5, 1.0, "complete"), (0.6, 1.0, "pruned")], 0),
        ([(None, None, "failed"), (0.1, 1.0, "pruned")], 1),
        ([(0.5, 1.0, "complete"), (0.6, 1.0, "timeout")], 1),
    ],
)
def test_best(rows, best):
    assert _result(*rows).best.number == best


def test_frame():
    frame = _result(
        (0.5, 1.0, "complete"), (None, None, "failed"), (0.7, 1.0, "complete")
    ).to_frame()
    assert frame["best_so_far"].tolist() == [0.5, 0.5, 0.7]
    assert np.isnan(frame["score"][1])
    assert frame["widths"].tolist() == [[8], [8], [8]]
    assert frame["error"].tolist()[1] == "no"
    assert frame["status"].tolist() == ["complete", "failed", "complete"]


def test_plot(tmp_path):
    result = _result((0.5, 1.0, "complete"), (0.4, 1.0, "pruned"), (None, None, "failed"))
    figure = result.plot_history(tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 1000
    labels = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert labels == ["complete", "pruned", "best so far"]


def test_pruned_share():
    assert _result((0.5, 1.0, "complete"), (0.4, 1.0, "pruned")).pruned_share == 0.5
