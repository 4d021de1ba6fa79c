from __future__ import annotations

from autokit.nas.strategies.proposals import unseen


def test_draws_until_new_and_remembers():
    draws, seen = iter([1, 2, 3]), {1, 2}
    assert unseen(lambda: next(draws), seen) == 3
    assert seen == {1, 2, 3}


def test_gives_up_after_some_tries():
    assert unseen(lambda: 1, {1}, tries=5) == 1
