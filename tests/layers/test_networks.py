from __future__ import annotations

import numpy as np
import pytest

from autokit.layers import cnn, mlp, sequence
from autokit.layers.networks import ACTIVATIONS, BLOCKS, NORMALIZATIONS


def _weights(model):
    return model.count_params()


def test_mlp_has_the_closed_form_number_of_parameters():
    model = mlp((10,), 3, widths=(8, 4))
    assert _weights(model) == (10 * 8 + 8) + (8 * 4 + 4) + (4 * 3 + 3)


def test_residual_projects_only_where_widths_differ():
    plain = _weights(mlp((8,), 2, widths=(8, 4)))
    assert _weights(mlp((8,), 2, widths=(8, 4), residual=True)) == plain + 8 * 4


def test_mlp_residual_block_is_the_formula():
    model = mlp((4,), 2, widths=(4,), residual=True)
    kernel, bias, out_kernel, out_bias = model.get_weights()
    X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    hidden = np.maximum(X @ kernel + bias, 0) + X
    np.testing.assert_allclose(model(X), hidden @ out_kernel + out_bias, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_mlp_choices_give_probabilities(activation, normalization):
    model = mlp(
        (5,),
        3,
        output_activation="softmax",
        widths=(np.int64(6), 6),
        activation=activation,
        normalization=normalization,
        dropout=0.3,
        residual=True,
    )
    out = np.asarray(model(np.ones((4, 5), "float32")))
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-5)


def test_mlp_without_hidden_layers_is_linear_and_flattens():
    model = mlp((2, 3), 4, widths=())
    assert _weights(model) == 6 * 4 + 4
    assert model.output_shape == (None, 4)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (9, 12, 1)])
def test_cnn_blocks_build(block, shape):
    model = cnn(shape, 10, block=block, stem_width=4, widths=(4, 8, 8), blocks=(1, 2, 1))
    out = model(np.zeros((2, *shape), "float32"))
    assert out.shape == (2, 10)
    assert model.get_layer("outputs").activation.__name__ == "linear"


def test_large_images_reach_the_stages_small():
    model = cnn((224, 224, 3), 2, stem_width=4, widths=(4,))
    assert max(layer.output.shape[1] for layer in model.layers[1:4]) == 56


@pytest.mark.parametrize("units", [0, 5])
def test_sequence_builds(units):
    model = sequence((20, 3), 2, widths=(4, 8), recurrent_units=units)
    assert model(np.zeros((2, 20, 3), "float32")).shape == (2, 2)


@pytest.mark.parametrize("build, shape", [(mlp, (4,)), (cnn, (8, 8)), (sequence, (10, 2))])
def test_models_reload_from_json_without_autokit(build, shape):
    import keras

    model = build(shape, 2, output_activation="sigmoid")
    again = keras.models.model_from_json(model.to_json())
    assert "autokit" not in model.to_json()
    again.set_weights(model.get_weights())
    X = np.ones((2, *shape), "float32")
    np.testing.assert_allclose(model(X), again(X), atol=1e-6)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: mlp((4,), 2, activation="tanhh"), "activation must be one of 'relu'"),
        (lambda: mlp((4,), 2, normalization="group"), "normalization must be one of"),
        (lambda: cnn((8, 8), 2, block="dense"), "block must be one of 'plain'"),
        (lambda: cnn((64,), 2), "input_shape of a cnn must be"),
        (lambda: cnn((8, 8), 2, blocks=(1, 1, 1)), "blocks must be one int or one for each"),
        (lambda: sequence((10,), 2), "input_shape of a sequence must be"),
    ],
)
def test_errors_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
