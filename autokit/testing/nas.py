"""Contracts of architecture search: what every space and every strategy must keep.

Inherit a suite, give it what it tests, and pytest runs it::

    class TestMySpace(SpaceContract):
        input_shape = (8, 8)

        def make_space(self):
            return MySpace()
"""

from __future__ import annotations

import json

import numpy as np

from autokit.nas.architecture import from_json, to_json
from autokit.nas.protocols import Evaluation
from autokit.nas.spaces.dimensions import Choice
from autokit.nas.spaces.product import ProductSpace


class SpaceContract:
    """What every `SearchSpace` must keep. Set `input_shape` and `make_space`."""

    input_shape: tuple[int, ...] = (8,)
    n_outputs = 3
    n_samples = 40
    n_builds = 4

    def make_space(self):
        """A new instance of the space."""
        raise NotImplementedError

    def is_member(self, space, architecture) -> bool:
        """Whether an architecture is one of the space's; by default, whether it can be encoded."""
        space.encode(architecture)
        return type(architecture) is type(space.sample(np.random.default_rng(0)))

    def _samples(self, space, seed=0):
        rng = np.random.default_rng(seed)
        return [space.sample(rng) for _ in range(self.n_samples)]

    def test_sampling_is_determined_by_the_generator(self):
        assert self._samples(self.make_space()) == self._samples(self.make_space())
        assert self._samples(self.make_space()) != self._samples(self.make_space(), seed=1)

    def test_architectures_are_hashable_values(self):
        first, again = self._samples(self.make_space()), self._samples(self.make_space())
        assert [hash(a) for a in first] == [hash(a) for a in again]
        assert set(first) == set(again)

    def test_architectures_survive_json(self):
        for architecture in self._samples(self.make_space()):
            text = json.dumps(to_json(architecture))
            again = from_json(json.loads(text), type(architecture))
            assert again == architecture
            assert hash(again) == hash(architecture)

    def test_mutation_changes_and_stays_inside(self):
        space, rng = self.make_space(), np.random.default_rng(1)
        for architecture in self._samples(space):
            mutant = space.mutate(architecture, rng)
            assert mutant != architecture
            assert self.is_member(space, mutant)

    def test_mutation_is_determined_by_the_generator(self):
        space = self.make_space()
        parent = self._samples(space)[0]
        first, again = (
            [space.mutate(parent, rng) for _ in range(5)]
            for rng in (np.random.default_rng(2), np.random.default_rng(2))
        )
        assert first == again

    def test_mutations_reach_many_architectures(self):
        space, rng = self.make_space(), np.random.default_rng(3)
        architecture, reached = self._samples(space)[0], set()
        for _ in range(self.n_samples):
            architecture = space.mutate(architecture, rng)
            reached.add(architecture)
        assert len(reached) > 1

    def test_crossover_stays_inside_and_of_twins_is_the_twin(self):
        space, rng = self.make_space(), np.random.default_rng(4)
        samples = self._samples(space)
        for a, b in zip(samples, samples[1:], strict=False):
            assert self.is_member(space, space.crossover(a, b, rng))
        assert space.crossover(samples[0], samples[0], rng) == samples[0]

    def test_codes_are_finite_floats_of_one_length_and_tell_architectures_apart(self):
        space = self.make_space()
        samples = list(dict.fromkeys(self._samples(space)))
        codes = [space.encode(a) for a in samples]
        assert {c.shape for c in codes} == {codes[0].shape}
        assert codes[0].ndim == 1
        assert all(np.issubdtype(c.dtype, np.floating) and np.isfinite(c).all() for c in codes)
        assert len({c.tobytes() for c in codes}) == len(samples)

    def test_where_a_search_starts_is_in_the_space(self):
        space = self.make_space()
        for start in (getattr(space, "default", None), getattr(space, "smallest", None)):
            assert start is None or self.is_member(space, start)

    def test_models_have_the_asked_shape_and_give_probabilities(self):
        space = self.make_space()
        architectures = self._samples(space)[: self.n_builds]
        if getattr(space, "default", None) is not None:
            architectures.append(space.default)
        X = np.random.default_rng(5).normal(size=(2, *self.input_shape)).astype("float32")
        for architecture in architectures:
            model = space.build(architecture, self.input_shape, self.n_outputs, "softmax")
            assert tuple(model.input_shape) == (None, *self.input_shape)
            probabilities = np.asarray(model(X))
            assert probabilities.shape == (2, self.n_outputs)
            np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-4)

    def test_a_linear_output_is_not_bounded(self):
        space = self.make_space()
        model = space.build(self._samples(space)[0], self.input_shape, 1, "linear")
        assert tuple(model.output_shape) == (None, 1)


class ToySpace(ProductSpace):
    """Points of a small grid: a space without networks, whose best point is known.

    The score is ``-sum_i |x_i - target|``: separable, without local optima.

    Parameters
    ----------
    n_dimensions : int, default=5
    n_values : int, default=5
    """

    def __init__(self, n_dimensions: int = 5, n_values: int = 5):
        self.n_dimensions, self.n_values = n_dimensions, n_values

    @property
    def dimensions(self):
        """A choice per axis."""
        return {str(i): Choice(tuple(range(self.n_values))) for i in range(self.n_dimensions)}

    def sample(self, rng):
        """Draw a point."""
        return tuple(int(v) for v in rng.integers(self.n_values, size=self.n_dimensions))

    def mutate(self, architecture, rng):
        """Change one coordinate."""
        at = int(rng.integers(self.n_dimensions))
        value = Choice(tuple(range(self.n_values))).mutate(architecture[at], rng)
        return (*architecture[:at], int(value), *architecture[at + 1 :])

    def crossover(self, a, b, rng):
        """Take each coordinate from either parent."""
        return tuple((x, y)[int(rng.integers(2))] for x, y in zip(a, b, strict=True))

    def encode(self, architecture):
        """The coordinates."""
        return np.asarray(architecture, float)

    @property
    def best(self) -> tuple[int, ...]:
        """The point of score 0."""
        return (self.n_values - 2,) * self.n_dimensions

    def score(self, architecture) -> float:
        """Minus the city-block distance to the best point."""
        return -float(sum(abs(x - y) for x, y in zip(architecture, self.best, strict=True)))

    def evaluate(self, architecture, budget=None, number: int = -1) -> Evaluation:
        """An evaluator without cost."""
        score = self.score(architecture)
        return Evaluation(number, architecture, score, -score, "complete", epochs=1)


class StrategyContract:
    """What every `SearchStrategy` must keep. Set `make_strategy`.

    Attributes
    ----------
    must_find : bool
        Whether the best of 3125 toy points must be found in `n_trials` trials.
    """

    n_trials = 300
    must_find = True

    def make_strategy(self, space, rng):
        """A new strategy."""
        raise NotImplementedError

    def _search(self, space, seed, n_trials, batch=1):
        strategy = self.make_strategy(space, np.random.default_rng(seed))
        history = []
        while len(history) < n_trials:
            proposals = strategy.ask(batch)
            assert len(proposals) == batch
            told = [
                space.evaluate(a, number=i) for i, a in enumerate(proposals, start=len(history))
            ]
            strategy.tell(told)
            history += told
        return history

    def test_proposals_are_determined_by_the_generator(self):
        first, again, other = (self._search(ToySpace(), seed, 60) for seed in (0, 0, 1))
        assert first == again
        assert first != other

    def test_proposals_in_batches_are_determined_by_the_generator(self):
        assert self._search(ToySpace(), 0, 60, 4) == self._search(ToySpace(), 0, 60, 4)

    def test_proposals_belong_to_the_space(self):
        space = ToySpace()
        for evaluation in self._search(space, 0, 100, batch=3):
            point = evaluation.architecture
            assert len(point) == space.n_dimensions
            assert all(0 <= x < space.n_values for x in point)

    def test_few_proposals_repeat(self):
        history = self._search(ToySpace(), 0, 200)
        assert len({e.architecture for e in history}) > 150

    def test_takes_note_of_what_it_never_asked_for(self):
        space = ToySpace()
        strategy = self.make_strategy(space, np.random.default_rng(0))
        strategy.tell([space.evaluate(space.best, number=0)])
        assert len(strategy.ask(2)) == 2

    def test_survives_failures(self):
        space = ToySpace()
        strategy = self.make_strategy(space, np.random.default_rng(0))
        for number in range(40):
            (point,) = strategy.ask(1)
            if number % 2:
                strategy.tell([space.evaluate(point, number=number)])
            else:
                strategy.tell([Evaluation(number, point, None, None, "failed", error="test")])

    def test_survives_an_exhausted_space(self):
        space = ToySpace(n_dimensions=2, n_values=2)
        assert len(self._search(space, 0, 30)) == 30

    def test_finds_the_best_toy_point(self):
        space = ToySpace()
        best = [max(e.score for e in self._search(space, seed, self.n_trials)) for seed in range(5)]
        assert np.median(best) == 0.0 if self.must_find else np.median(best) >= -3.0
