from __future__ import annotations

import pytest

from autokit.names import by_name


def test_finds():
    assert by_name("strategy", "b", {"a": 1, "b": 2}, "a class") == 2


def test_unknown_names_list_the_known_and_the_nearest():
    with pytest.raises(ValueError) as caught:
        by_name("strategy", "evolutoin", {"random": 1, "evolution": 2}, "a class")
    assert str(caught.value) == (
        "The 'strategy' parameter must be one of 'evolution', 'random', or a class; got "
        "'evolutoin'. Did you mean 'evolution'?"
    )
