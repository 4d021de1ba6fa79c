import numpy as np
import pytest

from autokit.nas.hardware import load_predictor
from autokit.nas.hardware.predictors import PREDICTORS, LookupTablePredictor, spearman
from autokit.testing.hardware import Chain, LatencyPredictorContract
from autokit.testing.nas import ToySpace


class TestGaussianProcess(LatencyPredictorContract):
    def make_predictor(self, space, **options):
        return PREDICTORS["gaussian_process"](space, **options)


class TestLookupTable(LatencyPredictorContract):
    def make_predictor(self, space, **options):
        return PREDICTORS["lookup_table"](space, **options)


def test_a_lookup_table_says_what_each_operation_takes():
    space, rng = Chain(), np.random.default_rng(0)
    seen = [space.sample(rng) for _ in range(60)]
    predictor = LookupTablePredictor(space).fit(seen, [space.latency_ms(a) for a in seen])
    table = predictor.table_.reshape(5, 4)
    wanted = np.outer(1 + 0.2 * np.arange(5), list(space.ops.values()))
    np.testing.assert_allclose(table - table[:, :1], wanted, atol=0.06)
    assert predictor.base_ + table[:, 0].sum() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", sorted(PREDICTORS))
def test_costs_are_needed_again_on_loading(name, tmp_path):
    space, rng, path = Chain(), np.random.default_rng(0), tmp_path / "predictor.npz"
    seen = [space.sample(rng) for _ in range(12)]

    def costs(architecture):
        return (1.0 + space.latency_ms(architecture),)

    ms = [space.latency_ms(a) for a in seen]
    predictor = PREDICTORS[name](space, costs=costs).fit(seen, ms)
    predictor.save(path)
    with pytest.raises(ValueError, match="fitted with costs; load it so"):
        load_predictor(path, space)
    again = load_predictor(path, space, costs=costs)
    assert type(again) is PREDICTORS[name]
    np.testing.assert_array_equal(again.predict(seen), predictor.predict(seen))


def test_files_of_another_space_or_kind_are_refused(tmp_path):
    space, rng, path = Chain(), np.random.default_rng(0), tmp_path / "predictor.npz"
    seen = [space.sample(rng) for _ in range(12)]
    LookupTablePredictor(space).fit(seen, np.arange(1.0, 13.0)).save(path)
    with pytest.raises(ValueError, match="space: the predictor .* was fitted in .*Chain; got"):
        load_predictor(path, ToySpace())
    with pytest.raises(ValueError, match="read it with LookupTablePredictor.load"):
        PREDICTORS["gaussian_process"].load(path, space)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is not a saved LatencyPredictor"):
        load_predictor(path, space)
    with pytest.raises(FileNotFoundError):
        load_predictor(tmp_path / "none.npz", space)


def test_rank_correlation():
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 21.0])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1.0)
    assert spearman(np.ones(3), np.arange(3.0)) == 0.0
