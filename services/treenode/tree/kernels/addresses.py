"""Arrays for kernels by where they lie.

Each array that a kernel is handed from Python costs about 0.15 microseconds. A kernel that runs in less than that for
all of its arrays is handed one, of their addresses and shapes, and makes the others itself. Kernels know no more of an
array that they make than its place and shape: whoever hands those out keeps the array.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, cast

import numba
import numpy as np
import pyarrow as pa
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from services.treenode.tree.kernels.kernel import AnyArray, Int64s

#: Numbers that `places_of` writes for an array.
PLACE = 3


def address_of(array: AnyArray) -> int:
    """Where an array lies: from a buffer of pyarrow's, for a fifth of the time that `array.ctypes` takes."""
    address: int = pa.py_buffer(array).address
    return address


def places_of(arrays: Sequence[AnyArray]) -> Int64s:
    """Address and shape of each array, `PLACE` numbers an array. Whoever uses them keeps the arrays.

    Raises:
        ValueError: An array is no plain one, of one or two dimensions and without gaps.
    """
    places = np.zeros((len(arrays), PLACE), np.int64)
    for place, array in zip(places, arrays, strict=True):
        if not array.flags.c_contiguous or not 1 <= array.ndim < PLACE:
            raise ValueError("a kernel can't find its way in that array by address and shape")
        place[0] = address_of(array)
        place[1 : 1 + array.ndim] = array.shape
    return places.ravel()


def _plainly(address: int, shape: tuple[int, ...], dtype: type[np.generic]) -> AnyArray:
    size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory: Any = (ctypes.c_char * size_bytes).from_address(int(address))
    return cast(AnyArray, np.frombuffer(memory, dtype).reshape(shape))


def _generate(generator: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Machine code for it: the array's own fields, without an owner of its memory."""
    kind = signature.return_type
    array = generator.make_array(kind)(generator, builder)
    item = generator.get_constant(types.intp, generator.get_abi_sizeof(generator.get_data_type(kind.dtype)))
    address, *shape = arguments[: 1 + kind.ndim]
    strides = [item] if kind.ndim == 1 else [builder.mul(shape[1], item), item]
    populate: Any = populate_array
    pack: Any = cgutils.pack_array
    populate(
        array,
        data=builder.inttoptr(address, array.data.type),
        shape=pack(builder, shape),
        strides=pack(builder, strides),
        itemsize=item,
        meminfo=None,
    )
    return array._getvalue()


def _column_at(context: Any, address: Any, rows: Any, dtype: Any) -> Any:
    return types.Array(dtype.dtype, 1, "C")(types.intp, types.intp, dtype), _generate


def _table_at(context: Any, address: Any, rows: Any, width: Any, dtype: Any) -> Any:
    return types.Array(dtype.dtype, 2, "C")(types.intp, types.intp, types.intp, dtype), _generate


def _generate_prefetch(generator: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
    # For reading, to be kept in every cache, as data.
    builder.call(function, [pointer, number(0), number(3), number(1)])
    return generator.get_dummy_value()


def _prefetch(context: Any, address: Any) -> Any:
    return types.void(types.intp), _generate_prefetch


_config: Any = numba.config

#: column_at(address, rows, dtype): the array of one dimension that lies there. For kernels.
column_at: Any = (
    (lambda address, rows, dtype: _plainly(address, (rows,), dtype)) if _config.DISABLE_JIT else intrinsic(_column_at)
)
#: table_at(address, rows, width, dtype): the same of two dimensions.
table_at: Any = (
    (lambda address, rows, width, dtype: _plainly(address, (rows, width), dtype))
    if _config.DISABLE_JIT
    else intrinsic(_table_at)
)
#: prefetch(address): what lies there is wanted soon; an address that is none does no harm. For kernels.
prefetch: Any = (lambda address: None) if _config.DISABLE_JIT else intrinsic(_prefetch)
