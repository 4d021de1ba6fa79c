"""The contract of latency predictors: what every one must keep.

Inherit it, make a predictor, and pytest runs it::

    class TestMyPredictor(LatencyPredictorContract):
        def make_predictor(self, space, **options):
            return MyPredictor(space, **options)
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autokit.nas.hardware.predictors import spearman
from autokit.nas.spaces.dimensions import Choice
from autokit.nas.spaces.product import ProductSpace


class Chain(ProductSpace):
    """A space of five operations in a row, whose latency is known."""

    ops = {"skip": 0.0, "pool": 0.3, "small": 1.0, "large": 3.0}

    @property
    def dimensions(self):
        """A choice per place."""
        return {str(i): Choice(tuple(self.ops)) for i in range(5)}

    def architecture_type(self, **places) -> tuple[str, ...]:
        """The operations in their order."""
        return tuple(places[name] for name in sorted(places))

    def mutate(self, architecture, rng):
        """Change one operation."""
        at = int(rng.integers(5))
        op = Choice(tuple(self.ops)).mutate(architecture[at], rng)
        return (*architecture[:at], op, *architecture[at + 1 :])

    def encode(self, architecture):
        """One-hot."""
        dimensions = self.dimensions.values()
        return np.concatenate(
            [d.encode(op) for d, op in zip(dimensions, architecture, strict=True)]
        )

    def __iter__(self):
        """All 1,024."""
        return itertools.product(self.ops, repeat=5)

    def latency_ms(self, architecture) -> float:
        """Half a millisecond, and what each operation takes at its place."""
        return 0.5 + sum((1 + 0.2 * i) * self.ops[op] for i, op in enumerate(architecture))


class LatencyPredictorContract:
    """What every `LatencyPredictor` must keep. Set `make_predictor`.

    Attributes
    ----------
    least_spearman : float
        To be reached on unseen architectures from 50 measurements with 3 % of noise.
    """

    least_spearman = 0.97

    def make_predictor(self, space, **options):
        """A new predictor that is not fitted."""
        raise NotImplementedError

    def _measured(self, n=50, noise=0.03, seed=0):
        space, rng = Chain(), np.random.default_rng(seed)
        everything = list(space)
        rng.shuffle(everything)
        architectures = [tuple(map(str, a)) for a in everything]
        ms = np.array([space.latency_ms(a) for a in architectures])
        noisy = ms * (1 + noise * rng.normal(size=len(ms)))
        return space, architectures[:n], noisy[:n], architectures[n:], ms[n:]

    def test_ranks_unseen_architectures(self):
        space, seen, ms, unseen, true_ms = self._measured()
        predictor = self.make_predictor(space).fit(seen, ms)
        assert spearman(predictor.predict(unseen), true_ms) >= self.least_spearman

    def test_its_error_is_what_it_says(self):
        space, seen, ms, unseen, true_ms = self._measured(100)
        predictor = self.make_predictor(space).fit(seen, ms)
        error, predicted = predictor.error_, predictor.predict(unseen)
        rmse = np.sqrt(np.mean((predicted - true_ms) ** 2))
        assert error.n == 100
        # its own measurements are noisy, the truth is not
        assert rmse <= 1.5 * error.rmse_ms
        assert 0 <= error.spearman <= 1
        assert np.mean(true_ms > predicted + error.margin_ms) < 0.1

    def test_answers_are_finite_and_not_negative(self):
        space, seen, ms, unseen, _ = self._measured(8, noise=0.5)
        predicted = self.make_predictor(space).fit(seen, np.abs(ms)).predict(unseen)
        assert predicted.shape == (len(unseen),)
        assert np.isfinite(predicted).all()
        assert (predicted >= 0).all()

    def test_fits_are_the_same_every_time(self):
        space, seen, ms, unseen, _ = self._measured()
        first, again = (
            self.make_predictor(space).fit(seen, ms).predict(unseen[:50]) for _ in range(2)
        )
        np.testing.assert_array_equal(first, again)

    def test_survives_a_file(self, tmp_path):
        space, seen, ms, unseen, _ = self._measured()
        predictor = self.make_predictor(space, input_shape=(8, 8)).fit(seen, ms)
        predictor.save(tmp_path / "predictor.npz")
        again = type(predictor).load(tmp_path / "predictor.npz", Chain())
        np.testing.assert_array_equal(again.predict(unseen), predictor.predict(unseen))
        assert again.error_ == predictor.error_
        assert again.input_shape == (8, 8)

    def test_another_space_is_refused(self):
        from autokit.testing.nas import ToySpace

        space, seen, ms, *_ = self._measured()
        predictor = self.make_predictor(space, input_shape=(8, 8)).fit(seen, ms)
        predictor.check(Chain(), (8, 8))
        with pytest.raises(ValueError, match=r"another space: it was fitted in .*Chain, but the"):
            predictor.check(ToySpace())
        with pytest.raises(ValueError, match=r"rows of shape \(8, 8\), .* shape \(9, 9\)"):
            predictor.check(Chain(), (9, 9))
        with pytest.raises(ValueError, match="architectures must be of the predictor's space"):
            predictor.predict([("huge",) * 5])

    def test_measurements_of_no_use_are_refused(self):
        space, seen, ms, *_ = self._measured()
        predictor = self.make_predictor(space)
        for wrong, message in (
            ((seen[:3], ms[:3]), "at least 5 measurements"),
            ((seen, ms[:-1]), "one number for each"),
            ((seen, ms * 0), "positive"),
            ((seen, ms * np.nan), "positive"),
        ):
            with pytest.raises(ValueError, match=message):
                predictor.fit(*wrong)
        with pytest.raises(ValueError, match="is not fitted"):
            predictor.predict(seen)
