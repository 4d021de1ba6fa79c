"""A fifth of the clients is hostile: which aggregators hold?

Digits dealt out to twenty clients, all in every round; four of them send the opposite of their
update, four times as long ("sign flip"), or have taught themselves 9 - y for y ("label flip").
`value` is the accuracy on held-out digits.
"""

from __future__ import annotations

import numpy as np
import record
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

QUESTION = "federated_attacks"
CLIENTS, HOSTILE = 20, 4
AGGREGATORS = ("mean", "norm_clipping", "median", "trimmed_mean", "krum", "multi_krum")
ATTACKS = ("none", "sign flip", "label flip")


def attacked(aggregator: str):
    """The aggregator behind clients of which the first ones turn their updates around."""
    from autokit.federated import AGGREGATORS, Aggregator

    inner = AGGREGATORS[aggregator]()

    class Turned(Aggregator):
        def combine(self, updates, weights):
            updates = updates.copy()
            updates[:HOSTILE] *= -4
            return inner.combine(inner.limited(updates), weights)

    return Turned()


def run(attack: str, aggregator: str, seed: int) -> dict:
    from autokit import FederatedTrainer
    from autokit.federated import partition_iid
    from autokit.training import TrainingDiverged

    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=seed)
    clients = partition_iid(y, CLIENTS, random_state=seed)
    if attack == "label flip":
        y = np.where(clients < HOSTILE, 9 - y, y)
    trainer = FederatedTrainer(
        n_rounds=30,
        local_epochs=3,
        batch_size=16,
        aggregator=attacked(aggregator) if attack == "sign flip" else aggregator,
        random_state=seed,
    )
    with record.measured() as cost:
        try:
            trainer.fit(X, y, client_ids=clients)
        except TrainingDiverged:  # what the rounds before it made of the model is kept
            pass
    return {"value": trainer.score(X_test, y_test), **cost}


def main() -> None:
    options = record.arguments(__doc__, seeds=3)
    lines = []
    for seed in range(options.seeds):
        for attack in ATTACKS:
            for aggregator in AGGREGATORS:
                line = run(attack, aggregator, seed)
                lines.append(record.write(QUESTION, aggregator, attack, seed, **line))
    print(record.table(lines, {"value": 4, "cpu_seconds": 1}))


if __name__ == "__main__":
    main()
