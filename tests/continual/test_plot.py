from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from autokit.continual import ContinualModel, ContinualRegressor, Naive, plot_forgetting


def _model(scores, tasks, kind=ContinualModel):
    """A model with these scores; nothing needs to be learnt for a picture."""
    model = kind()
    model.tasks_, model.strategy_, model.target_ = tasks, Naive(), None
    # before each experience there is the score without it, which is no part of a line
    model._scores = [np.append(row, 0.1) for row in scores[:-1]] + [np.array(scores[-1])]
    return model


def _lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_a_line_a_task_and_their_average():
    model = _model([[1.0], [0.5, 0.8], [0.3, 0.6, 0.9]], ["a", "b", "c"])
    axes = model.plot_forgetting().axes[0]
    lines = _lines(axes)
    assert lines["task a"] == [[1, 1.0], [2, 0.5], [3, 0.3]]
    assert lines["task b"] == [[2, 0.8], [3, 0.6]]
    assert lines["task c"] == [[3, 0.9]]
    np.testing.assert_allclose(lines["average"], [[1, 1.0], [2, 0.65], [3, 0.6]])
    assert axes.get_title() == f"Naive: forgetting {model.forgetting_:.3f}"
    assert axes.get_ylabel() == "accuracy on held-out rows"


def test_saves_and_draws_where_it_is_told(tmp_path):
    model = _model([[0.9], [0.7, 0.8]], [0, 0], ContinualRegressor)
    axes = Figure().subplots()
    figure = plot_forgetting(model, tmp_path / "forgetting.png", axes)
    assert figure is axes.get_figure()
    assert (tmp_path / "forgetting.png").stat().st_size > 1000
    assert list(_lines(axes)) == ["task 0 (1)", "task 0 (2)", "average"]
    assert axes.get_ylabel() == "R2 on held-out rows"


def test_leaves_out_what_was_not_measured():
    model = _model([[np.nan], [np.nan, 0.8]], [0, 1])
    axes = plot_forgetting(model).axes[0]
    assert list(_lines(axes)) == ["task 1", "average"]
    assert axes.get_title() == "Naive"
    with pytest.raises(ValueError, match="validation_fraction"):
        plot_forgetting(_model([[np.nan], [np.nan, np.nan]], [0, 1]))
