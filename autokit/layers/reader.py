"""An embedding read in the context of a memory: matching networks' full-context embedding."""

from __future__ import annotations

from autokit._backend import keras, tf
from autokit.layers.fake_quant import PACKAGE


def lstm_step(x, hidden, cell, kernel, recurrent, bias):
    """One step of an LSTM (Hochreiter and Schmidhuber 1997; gates in Keras' order i, f, c, o).

    Parameters
    ----------
    x : tf.Tensor of shape (batch, n_inputs)
    hidden : tf.Tensor of shape (batch, n_hidden)
    cell : tf.Tensor of shape (batch, n_units)
    kernel, recurrent, bias : tf.Tensor
        Of shapes (n_inputs, 4 n_units), (n_hidden, 4 n_units) and (4 n_units,).

    Returns
    -------
    output, cell : tf.Tensor of shape (batch, n_units)
    """
    z = tf.matmul(x, kernel) + tf.matmul(hidden, recurrent) + bias
    i, f, c, o = tf.split(z, 4, axis=-1)
    cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
    return tf.sigmoid(o) * tf.tanh(cell), cell


def read(x, memory, kernel, recurrent, bias, n_steps: int):
    """An embedding after a few looks at a memory.

    ::

        r = sum_i softmax_i(h . m_i) m_i
        h, c = lstm([x, h, r], c)[0] + x, ...                  # n_steps times, from h = x, c = 0

    Parameters
    ----------
    x : tf.Tensor of shape (batch, n_features)
    memory : tf.Tensor of shape (n_rows, n_features)
    kernel, recurrent, bias : tf.Tensor
        Of an LSTM whose hidden state is h and r: (n_features, 4 n_features),
        (2 n_features, 4 n_features), (4 n_features,).
    n_steps : int

    References
    ----------
    Vinyals et al., "Matching Networks for One Shot Learning", 2016, section 2.1.2 and appendix
    A.1, equations 3 to 6. There h begins at 0; from x the first look is not in vain.
    """
    hidden, cell = x, tf.zeros_like(x)
    for _ in range(n_steps):
        attention = tf.nn.softmax(tf.matmul(hidden, memory, transpose_b=True))
        state = tf.concat([hidden, tf.matmul(attention, memory)], axis=-1)
        output, cell = lstm_step(x, state, cell, kernel, recurrent, bias)
        hidden = output + x
    return hidden


@keras.saving.register_keras_serializable(PACKAGE)
class MemoryReader(keras.layers.Layer):
    """`read` with a memory that is one of the layer's weights.

    Parameters
    ----------
    n_rows : int
        Of the memory.
    n_steps : int
    **options
        Of `keras.layers.Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.layers.reader import MemoryReader
    >>> MemoryReader(n_rows=5, n_steps=2)(np.ones((3, 4), "float32")).shape.as_list()
    [3, 4]
    """

    def __init__(self, n_rows: int, n_steps: int, **options):
        super().__init__(**options)
        self.n_rows, self.n_steps = int(n_rows), int(n_steps)

    def build(self, input_shape):
        n = input_shape[-1]
        self.memory = self.add_weight((self.n_rows, n), name="memory")
        self.kernel = self.add_weight((n, 4 * n), name="kernel")
        self.recurrent = self.add_weight((2 * n, 4 * n), name="recurrent")
        self.bias = self.add_weight((4 * n,), initializer="zeros", name="bias")

    def call(self, inputs):
        weights = (self.memory, self.kernel, self.recurrent, self.bias)
        return read(inputs, *(tf.convert_to_tensor(w) for w in weights), self.n_steps)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "n_rows": self.n_rows, "n_steps": self.n_steps}
