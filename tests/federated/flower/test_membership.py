"""A secret that is proved and not told, and what a node that cannot is told."""

from __future__ import annotations

import pytest

from autokit.federated.engines.flower.membership import (
    challenge,
    is_proof,
    make_secret,
    proof,
    read_secret,
)


def test_only_who_knows_the_secret_answers_a_challenge(tmp_path):
    make_secret(tmp_path / "join.secret")
    secret, asked = read_secret(tmp_path / "join.secret"), challenge()
    assert is_proof(secret, asked, proof(secret, asked))
    assert not is_proof(secret, asked, proof(b"", asked))
    assert not is_proof(secret, challenge(), proof(secret, asked))  # of another time
    assert secret not in proof(secret, asked)


def test_a_secret_is_made_once_and_is_not_a_word(tmp_path):
    make_secret(tmp_path / "join.secret")
    with pytest.raises(FileExistsError):
        make_secret(tmp_path / "join.secret")
    (tmp_path / "weak").write_text("swordfish\n")
    with pytest.raises(ValueError, match="has 9 bytes, and can be guessed"):
        read_secret(tmp_path / "weak")
    with pytest.raises(FileNotFoundError, match="no.secret is not there"):
        read_secret(tmp_path / "no.secret")


class _Link:
    """What a fleet tells nodes, and what they answer."""

    def __init__(self, **answers):
        self.answers, self.sent = answers, []

    def nodes(self):
        return {1}

    def message(self, node, kind, content):
        return kind, content

    def send(self, messages):
        self.sent += messages
        return [messages[0][0]]

    def replies(self, numbers):
        for kind in numbers & self.answers.keys():
            yield kind, self.answers[kind](self.sent[-1][1])


def test_a_node_is_told_nothing_before_it_is_trusted(flower):
    from flwr.app import ConfigRecord, RecordDict

    from autokit.federated.engines.flower.fleet import Fleet
    from autokit.federated.engines.flower.node import Node
    from autokit.federated.engines.flower.wire import HELLO, SETUP, STOP

    def described(content):
        return RecordDict({"node": ConfigRecord({"label": "", "sizes": "{}", "failed": "{}"})})

    def met(hello, n_times=2):
        link = _Link(**{HELLO: hello, SETUP: described})
        fleet = Fleet(link, RecordDict(), 1.0, lambda member: "", secret=b"secret" * 4)
        for _ in range(n_times):
            fleet.meet()
        return fleet, [kind for kind, _ in link.sent]

    fleet, kinds = met(Node({}, secret=b"secret" * 4).hello)
    assert kinds == [HELLO, SETUP] and 1 in fleet.members
    strangers = [
        Node({}).hello,
        lambda content: RecordDict(),
        lambda content: RecordDict({"hello": ConfigRecord({"proof": "text"})}),
        described,
    ]
    for stranger in strangers:
        fleet, kinds = met(stranger)
        assert kinds == [HELLO, STOP] and not fleet.members
        assert "it does not know the secret of this training" in fleet.refused[1]
