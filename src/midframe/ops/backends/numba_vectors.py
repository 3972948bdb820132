"""Short vectors inside numba's functions: what a loop over 4 or 16 neighbours should compile to.

LLVM unrolls such short loops before it looks for vectors, and can't know that arrays don't
overlap; a vector type says both. It becomes whatever vectors the processor has. Nothing here
checks bounds. Needs numba: import this file inside functions only.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.extending import lower_builtin, models, register_model, type_callable

intrinsic: Any = extending.intrinsic  # what it returns is called without the typing context
FLAGS = ("contract", "nsz")
INT = ir.IntType(32)


class Vector(types.Type):
    """``lanes`` numbers of one floating type, held in registers; lives only inside kernels."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


@register_model(Vector)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        scalar = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(scalar, kind.lanes))


def _place(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: Any) -> Any:
    """Return the pointer to element ``index`` of a 1-d contiguous array, as a vector's."""
    data = context.make_array(array_type)(context, builder, array).data
    vector = context.get_value_type(kind)
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


@intrinsic
def load(typing: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Return array[index : index + len(lanes)]; ``lanes`` is any tuple of integers."""
    kind = Vector(array.dtype, len(lanes))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = builder.load(_place(context, builder, array, args[0], args[1], kind))
        found.align = array.dtype.bitwidth // 8
        return found

    return kind(array, types.intp, lanes), code


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + lanes] = value."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where = _place(context, builder, array, args[0], args[1], value)
        builder.store(args[2], where).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), code


@intrinsic
def fill(typing: Any, scalar: Any, lanes: Any) -> Any:
    """Return ``scalar`` in each of len(lanes) lanes."""
    kind = Vector(scalar, len(lanes))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _broadcast(context, builder, kind, args[0])

    return kind(scalar, lanes), code


@intrinsic
def transpose(
    typing: Any, source: Any, start: Any, step: Any, target: Any, to: Any, apart: Any, lanes: Any
) -> Any:
    """target[to + j apart + i] = source[start + i step + j] for i, j below len(lanes)."""
    kind, count = Vector(source.dtype, len(lanes)), len(lanes)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, stride, last, pitch = args[1], args[2], args[4], args[5]
        align, rows = source.dtype.bitwidth // 8, []
        for _ in range(count):
            rows.append(builder.load(_place(context, builder, source, args[0], first, kind)))
            rows[-1].align = align
            first = builder.add(first, stride)
        low = [i // 2 + count * (i % 2) for i in range(count)]
        masks = [ir.VectorType(INT, count)([i + count // 2 * k for i in low]) for k in (0, 1)]
        for _ in range(count.bit_length() - 1):
            pairs = zip(rows[: count // 2], rows[count // 2 :])
            rows = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in masks]
        for row in rows:
            builder.store(row, _place(context, builder, target, args[3], last, kind)).align = align
            last = builder.add(last, pitch)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, intp, intp, target, intp, intp, lanes), code


def _broadcast(context: Any, builder: Any, kind: Vector, scalar: Any) -> Any:
    undefined = ir.Constant(context.get_value_type(kind), ir.Undefined)
    first = builder.insert_element(undefined, scalar, INT(0))
    return builder.shuffle_vector(
        first, undefined, ir.VectorType(INT, kind.lanes)([0] * kind.lanes)
    )


@intrinsic
def lane(typing: Any, value: Any, index: Any) -> Any:
    """Return value[index]."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(*args)

    return value.dtype(value, types.intp), code


@intrinsic
def totals(typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Return the four vectors' sums in four lanes, added by halves: in one order everywhere."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def fold(x: Any, y: Any, lanes: list[int], others: list[int]) -> Any:
            masks = [ir.VectorType(INT, len(k))(k) for k in (lanes, others)]
            halves = [builder.shuffle_vector(x, y, mask) for mask in masks]
            return builder.fadd(*halves, flags=FLAGS)

        parts, size = list(args), a.lanes
        while size > 4:
            size //= 2
            low, high = list(range(size)), list(range(size, 2 * size))
            parts = [fold(x, x, low, high) for x in parts]
        pairs = [fold(x, y, [0, 1, 4, 5], [2, 3, 6, 7]) for x, y in zip(parts[::2], parts[1::2])]
        return fold(pairs[0], pairs[1], [0, 2, 4, 6], [1, 3, 5, 7])

    return Vector(a.dtype, 4)(a, b, c, d), code


def _register(name: str, function: Any) -> None:
    """Give vectors an operator; the other side may be a scalar of the same type."""

    @type_callable(function)
    def typer(context: Any) -> Any:
        def check(left: Any, right: Any) -> Any:
            if isinstance(left, Vector) and right in (left, left.dtype):
                return left
            return None

        return check

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left, right = args
        if not isinstance(signature.args[1], Vector):
            right = _broadcast(context, builder, signature.return_type, right)
        return getattr(builder, name)(left, right, flags=FLAGS)

    lower_builtin(function, Vector, Vector)(code)
    lower_builtin(function, Vector, types.Float)(code)


_register("fadd", operator.add)
_register("fmul", operator.mul)
_register("fsub", operator.sub)
_register("fdiv", operator.truediv)
