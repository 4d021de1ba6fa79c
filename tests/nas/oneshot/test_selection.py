from __future__ import annotations

import numpy as np

from autokit._backend import tf
from autokit.nas.oneshot.selection import importances

ROWS = (tf.zeros((4, 2)), tf.zeros(4))


class Additive:
    """A supernet whose loss falls by a known worth for each share of an operation."""

    def __init__(self, worth, alphas):
        self.worth, self.alphas = np.asarray(worth), tf.constant(alphas, tf.float32)

    def losses(self, rows, mixtures):
        return -(np.asarray(mixtures) * self.worth).sum(axis=(1, 2))


def test_what_is_missed_most_is_kept_whatever_its_share():
    worth = [[0.0, 5.0, 1.0], [2.0, 0.5, 0.0]]
    shares = np.log([[0.8, 0.1, 0.1], [0.2, 0.2, 0.6]])  # the largest are worth nothing
    found = importances(Additive(worth, shares), ROWS, np.random.default_rng(0))
    assert found.argmax(axis=1).tolist() == [1, 0]
    np.testing.assert_allclose(found.max(axis=1), [5.0, 2.0], rtol=1e-5)
    assert (np.sort(found, axis=1)[:, :-1] < -1e5).all()


def test_losses_are_those_of_the_supernet(task, space):
    from autokit.nas.oneshot.bilevel import Bilevel, BilevelSettings
    from autokit.nas.oneshot.supernet import make_supernet
    from autokit.training.objectives import make_loss

    net = make_supernet(space, task, 0)
    loss = make_loss(task.loss)
    alphas = np.zeros((net.n_edges, net.n_operations))
    program = Bilevel(net, loss, alphas, BilevelSettings())
    rows = (tf.constant(task.validation.x), tf.constant(task.validation.y))
    mixtures = np.random.default_rng(0).dirichlet(np.ones(net.n_operations), (3, net.n_edges))
    expected = [
        float(loss(rows[1], net.model([rows[0], tf.constant(m, tf.float32)], training=True)))
        for m in mixtures
    ]
    np.testing.assert_allclose(program.losses(rows, mixtures), expected, rtol=1e-4)
