"""A search space of your own: five methods, no base class.

    python examples/own_search_space.py

Searches over filter banks for digits: each is a 1x1, 3x3 or 5x5 convolution beside others, joined.
"""

from __future__ import annotations

import itertools

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from autokit import NASClassifier

FILTERS = (0, 8, 16)
KERNELS = (1, 3, 5)


class FilterBanks:
    """Two layers of parallel convolutions; an architecture is a tuple of six filter counts.

    Any immutable, hashable value of tuples, strings and numbers can be an architecture, or a
    frozen dataclass of them.
    """

    default = (0, 16, 0, 0, 16, 0)

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw the filters of each convolution; a layer without any is drawn again."""
        while True:
            drawn = tuple(int(n) for n in rng.choice(FILTERS, size=6))
            if self.is_possible(drawn):
                return drawn

    def mutate(self, architecture, rng):
        """Change one count."""
        neighbours = [
            (*architecture[:i], n, *architecture[i + 1 :])
            for i, n in itertools.product(range(6), FILTERS)
            if n != architecture[i]
        ]
        neighbours = [a for a in neighbours if self.is_possible(a)]
        return neighbours[rng.integers(len(neighbours))]

    def crossover(self, a, b, rng):
        """The first layer of one parent, the second of the other."""
        return (*a[:3], *b[3:]) if rng.integers(2) else (*b[:3], *a[3:])

    def encode(self, architecture) -> np.ndarray:
        """Numbers for strategies that learn what is good."""
        return np.asarray(architecture, float)

    def build(self, architecture, input_shape, n_outputs, output_activation) -> keras.Model:
        """The untrained network."""
        inputs = keras.Input(input_shape)
        x = keras.layers.Reshape((*input_shape[:2], -1))(inputs)
        for counts in (architecture[:3], architecture[3:]):
            banks = [
                keras.layers.Conv2D(n, size, padding="same", activation="relu")(x)
                for n, size in zip(counts, KERNELS, strict=True)
                if n
            ]
            x = banks[0] if len(banks) == 1 else keras.layers.Concatenate()(banks)
            x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.Flatten()(x)
        return keras.Model(inputs, keras.layers.Dense(n_outputs, output_activation)(x))

    def is_possible(self, architecture) -> bool:
        """Whether each layer has filters."""
        return any(architecture[:3]) and any(architecture[3:])

    def check_input(self, input_shape) -> None:
        """Optional: refuse rows before the search begins."""
        if len(input_shape) not in (2, 3):
            raise ValueError(f"FilterBanks takes images; the rows have shape {input_shape}.")


def main(max_trials: int = 6, epochs: int = 10) -> NASClassifier:
    """Search, and print what was found."""
    digits = load_digits()
    X_train, X_test, y_train, y_test = train_test_split(
        digits.images, digits.target, stratify=digits.target, random_state=0
    )
    classifier = NASClassifier(
        FilterBanks(), max_trials=max_trials, epochs=epochs, time_budget_s=40, random_state=0
    )
    classifier.fit(X_train, y_train)
    print(classifier.search_result_.to_frame()[["number", "status", "score", "n_params"]])
    print(f"best: {classifier.best_architecture_}, accuracy {classifier.score(X_test, y_test):.4f}")
    return classifier


if __name__ == "__main__":
    main()
