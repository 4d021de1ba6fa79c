"""What the spaces of cells share: their operations, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autokit.layers.cells import CELL_OPS, CellOp
from autokit.names import by_name


def check_ops(space: Any, ops: str, *numbers: str) -> None:
    """Refuse unknown operations and numbers below 1, by the names of the space's parameters.

    Raises
    ------
    ValueError
    """
    names = list(getattr(space, ops))
    op_builders(getattr(space, ops), names)
    if not set(names) - {"none"} or len(set(names)) < len(names):
        raise ValueError(
            f"{ops} of {type(space).__name__} must hold at least one operation other than 'none', "
            f"and each once; got {tuple(names)}."
        )
    for name in numbers:
        value = getattr(space, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(
                f"{name} of {type(space).__name__} must be an int >= 1; got {value!r}."
            )


def op_builders(
    ops: Iterable[str] | Mapping[str, CellOp], wanted: Iterable[str]
) -> dict[str, CellOp]:
    """The functions that build the wanted operations.

    Parameters
    ----------
    ops : iterable of str, or mapping of str to callable
        What the space knows.
    wanted : iterable of str

    Raises
    ------
    ValueError
        If one is unknown to the space or to `autokit.layers.cells`.
    """
    own = ops if isinstance(ops, Mapping) else {}
    known = dict.fromkeys(ops)
    builders = {}
    for name in dict.fromkeys(wanted):
        by_name("ops", name, known, "another op that the space was made with")
        builder = own[name] if name in own else by_name(
            "ops", name, CELL_OPS, "a mapping of names to functions (x, width, strides) -> y"
        )  # fmt: skip
        builders[name] = _checked(name, builder)
    return builders


def _checked(name: str, builder: CellOp) -> CellOp:
    def build(x, width: int, strides: int):
        y = builder(x, width, strides)
        expected = (None, *(-(-side // strides) for side in x.shape[1:3]), width)
        if tuple(y.shape) != expected:
            raise ValueError(
                f"The op {name!r} does not fit the input: from {tuple(x.shape)} with width={width} "
                f"and strides={strides} it must give {expected}, but gives {tuple(y.shape)}; pad "
                "it to the same sides, or leave it out of ops."
            )
        return y

    return build


def check_image(space: str, input_shape) -> None:
    """Refuse rows that are no images of 8x8 or more.

    Raises
    ------
    ValueError
    """
    if len(input_shape) not in (2, 3) or min(input_shape[:2]) < 8:
        raise ValueError(
            f"The 'space' parameter is {space!r}, which takes images from 8x8 up, but the rows of "
            f"X have shape {tuple(input_shape)}; reshape X to (n_samples, height, width) or "
            "(n_samples, height, width, channels), or choose space='mlp'."
        )
