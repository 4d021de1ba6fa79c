"""The picture shows every row once, with names where there is room for them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from autokit.federated import partition_dirichlet, plot_partition

Y = np.random.default_rng(0).integers(0, 4, 600)


def test_bars_are_the_rows_of_each_client_and_label():
    names = np.array(["north", "south", "west"])
    client_ids = names[np.random.default_rng(1).integers(0, 3, 600)]
    ax = plot_partition(Y, client_ids).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["north", "south", "west"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1", "2", "3"]
    for label, bars in enumerate(ax.containers):
        widths = [bar.get_width() for bar in bars]
        assert widths == [np.sum((Y == label) & (client_ids == name)) for name in names]
    ends = [bar.get_x() + bar.get_width() for bar in ax.containers[-1]]
    assert ends == [np.sum(client_ids == name) for name in names]


def test_many_clients_are_columns_by_size():
    client_ids = partition_dirichlet(Y, 60, random_state=0)
    ax = plot_partition(Y, client_ids).axes[0]
    assert ax.get_xlabel() == "60 clients, largest first"
    tops = ax.patches[-1].get_data().values
    np.testing.assert_array_equal(tops, np.sort(np.bincount(client_ids))[::-1])
    # the legend lies as the colours do
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["3", "2", "1", "0"]


def test_draws_where_it_is_told_and_saves(tmp_path):
    ax = Figure().subplots()
    figure = plot_partition(Y, Y, ax=ax, path=tmp_path / "clients.png")
    assert figure is ax.get_figure()
    assert (tmp_path / "clients.png").read_bytes().startswith(b"\x89PNG")


def test_many_labels_have_a_scale_instead_of_a_legend():
    y = np.arange(600) % 50
    ax = plot_partition(y, Y).axes[0]
    assert ax.get_legend() is None
    assert ax.get_title() == "50 labels, from 0 (dark) to 49 (bright)"
    assert plot_partition(np.arange(600) % 15, Y).axes[0].get_legend() is not None


@pytest.mark.parametrize(
    ("y", "client_ids", "message"),
    [
        (Y, Y[:5], "y and client_ids must be of one length; got 600 and 5"),
        (Y[:, None], Y, r"y must be of shape \(n_samples,\); got \(600, 1\)"),
        (Y, Y[:0], r"client_ids must be of shape \(n_samples,\); got \(0,\)"),
        (np.arange(600), Y, "y has 600 different values, .* bin them first"),
    ],
)
def test_what_cannot_be_drawn(y, client_ids, message):
    with pytest.raises(ValueError, match=message):
        plot_partition(y, client_ids)
