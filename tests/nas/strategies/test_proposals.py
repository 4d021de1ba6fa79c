from __future__ import annotations

import numpy as np

from autokit.nas.strategies.proposals import unseen, unseen_near


def test_draws_until_new_and_remembers():
    draws, seen = iter([1, 2, 3]), {1, 2}
    assert unseen(lambda: next(draws), seen) == 3
    assert seen == {1, 2, 3}


def test_gives_up_after_some_tries():
    assert unseen(lambda: 1, {1}, tries=5) == 1


def test_walks_past_what_was_seen():
    class Line:
        def mutate(self, place, rng):
            return place + 1

    seen = {1, 2, 3}
    assert unseen_near(Line(), 1, seen, np.random.default_rng(0)) == 4
    assert 4 in seen
