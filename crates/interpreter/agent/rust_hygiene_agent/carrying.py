"""How values are written for another interpreter and read there: a pickle, and a file with the bytes of arrays.

With cloudpickle, where it is installed, functions and classes of the notebook come along. Arrays are read straight into new ones. What
could be pickled and would not be the same afterwards is refused.
"""

import array
import importlib
import io
import os
import pickle
import sys
import types

_ALIGNED = 64
_PIECE = 64 << 20
_BUFFERS = (bytes, bytearray, array.array)  # carried by pickle, and arrays over them may be made anew
_STAYS = "stays with this interpreter, and does its work when that ends"

_arrays = -1  # where `_array` reads from; set while names are restored


class Cannot(Exception):
    """A value that cannot be carried; the text says why."""


class _Namespace(dict):
    """Stands for the namespace of the notebook, so that its functions find their globals there again."""


def _bases():
    try:
        from cloudpickle import Pickler
    except ImportError:
        return pickle.Pickler, False
    return Pickler, True


def carrier(namespace, known=(), is_lent=False):
    """The class of picklers for values of this namespace; those in `known` are found by their name where they go.

    With `is_lent` they are for a copy of this interpreter, which ends first.
    """
    base, by_value = _bases()
    finalized = {} if is_lent else _finalized()

    class Carrier(base):
        """Pickles values; arrays go to a file of their own."""

        def __init__(self, file, arrays):
            super().__init__(file, protocol=5)
            self._arrays = arrays
            self._namespace = _Namespace(a=1)  # not empty: cloudpickle fills an empty one
            if by_value:
                self.globals_ref[id(namespace)] = self._namespace

        def reducer_override(self, value):
            """How a value is carried, where that differs from what pickle does."""
            if value is self._namespace:
                return _user_namespace, ()
            kind = type(value)
            if id(value) in known:
                return _by_name, (known[id(value)][0],)
            if kind is types.ModuleType and value.__name__ in sys.modules:
                return importlib.import_module, (value.__name__,)
            numpy = sys.modules.get("numpy")
            if numpy is not None and issubclass(kind, numpy.ndarray):
                owner = _owner(numpy, value)
                _refuse_memory(numpy, value, kind, owner)
                if _is_ordinary(numpy, value, kind):
                    return self._reduce_array(numpy, value, kind, owner)
            if id(value) in finalized:
                _refuse_finalized(value, kind, *finalized[id(value)])
            _refuse(value, kind, by_value)
            return super().reducer_override(value) if by_value else NotImplemented

        def _reduce_array(self, numpy, value, kind, owner):
            plain = numpy.ndarray.view(value, numpy.ndarray)
            begin = _begin_of(numpy, owner) if owner is not value and plain.nbytes else None
            if begin is not None:
                start = _address(numpy, value) - begin
                shown = plain.shape, plain.strides, plain.dtype, kind, plain.flags.writeable
                return _view, (owner, start, *shown)
            axes = _axes(plain)
            if axes is None:
                plain, axes = numpy.ascontiguousarray(plain), range(plain.ndim)
            at = self._arrays.add(plain.transpose(axes))
            strides = None if plain.flags.c_contiguous else plain.strides
            return _array, (at, plain.shape, strides, plain.dtype, kind, value.flags.writeable)

    return Carrier


# ---------------------------------------------------------------------- arrays


def _owner(numpy, value):
    """What the memory of an array belongs to: itself, another array, or what it was made over."""
    while True:
        kind = type(value)
        if issubclass(kind, numpy.ndarray):
            base = numpy.ndarray.base.__get__(value)
        elif kind is memoryview:
            base = value.obj
        else:
            return value
        if base is None:
            return value
        value = base


def _is_ordinary(numpy, value, kind):
    """Whether an array is no more than its memory and its class."""
    if value.dtype.hasobject:
        return False
    return kind is numpy.ndarray or all(
        getattr(kind, name) is getattr(numpy.ndarray, name)
        for name in ("__reduce__", "__reduce_ex__", "__setstate__")
    )


def _begin_of(numpy, owner):
    """The address of the memory of something whose views can be made anew where it is carried to; else None."""
    kind = type(owner)
    if kind in _BUFFERS:
        return _address(numpy, numpy.frombuffer(owner, numpy.uint8))
    if not issubclass(kind, numpy.ndarray) or not _is_ordinary(numpy, owner, kind):
        return None
    return None if _axes(numpy.ndarray.view(owner, numpy.ndarray)) is None else _address(numpy, owner)


def _address(numpy, value):
    return numpy.ndarray.__array_interface__.__get__(value)["data"][0]


def _axes(value):
    """The axes of an array from the longest stride to the shortest, if in this order its memory has no gaps; else None."""
    if value.flags.c_contiguous:
        return range(value.ndim)
    axes = sorted(range(value.ndim), key=lambda axis: -value.strides[axis])
    return axes if value.transpose(axes).flags.c_contiguous else None


class Arrays:
    """The file with the bytes of arrays."""

    def __init__(self, fd):
        self._fd, self.size = fd, 0

    def add(self, value):
        """Writes a contiguous array; returns where it begins."""
        at = -(-self.size // _ALIGNED) * _ALIGNED
        view = _bytes_of(value)
        done = 0
        while done < len(view):
            done += os.pwrite(self._fd, view[done : done + _PIECE], at + done)
        self.size = at + done
        return at


class Nowhere:
    """Takes a pickle or the bytes of arrays, counts, and keeps neither."""

    size = 0

    def write(self, data):
        """A piece of a pickle."""
        self.size += memoryview(data).nbytes
        return 0

    def add(self, value):
        """An array."""
        self.size += value.nbytes + _ALIGNED
        return 0


def _bytes_of(value):
    if not value.nbytes:
        return b""
    return memoryview(value.reshape(-1).view("u1")).cast("B")


# ---------------------------------------------------------------------- what is refused


def _refuse_memory(numpy, value, kind, owner):
    """Raises `Cannot` for an array whose memory others see as well."""
    mmap, ctypes = sys.modules.get("mmap"), sys.modules.get("_ctypes")
    if mmap is not None and issubclass(type(owner), mmap.mmap):
        if issubclass(kind, numpy.memmap):
            raise Cannot(
                "a memmap, which would not reach its file any more: make it anew afterwards, or carry numpy.array(…) of it"
            )
        raise Cannot(
            "an array over memory that is mapped, or shared with other processes: .copy() can be carried"
        )
    data = ctypes and ctypes._SimpleCData.__mro__[1]  # the base of all that ctypes has memory for
    if data is not None and value.flags.writeable and issubclass(type(owner), data):
        raise Cannot("an array over memory of ctypes, which others may share: .copy() can be carried")


def _finalized():
    """{id: (weak reference, name of a function)} of the objects for which something is done when they go, or at exit."""
    found = {}
    finalize = getattr(sys.modules.get("weakref"), "finalize", None)
    for info in list(getattr(finalize, "_registry", {}).values()):
        found[id(info.weakref())] = info.weakref, info.func
    util = sys.modules.get("multiprocessing.util")
    for one in list(getattr(util, "_finalizer_registry", {}).values()):
        reference = getattr(one, "_weakref", None)
        if reference is not None:
            found[id(reference())] = reference, getattr(one, "_callback", None)
    return found


def _refuse_finalized(value, kind, reference, function):
    if reference() is not value or issubclass(kind, (type, types.FunctionType)):
        return
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None and issubclass(kind, tempfile.TemporaryDirectory):
        raise Cannot(
            "a temporary directory, which is deleted when this interpreter ends: move its files to a directory of your own"
        )
    name = getattr(function, "__qualname__", "a function")
    raise Cannot(f"its finalizer ({name}) {_STAYS}: close it, and make it anew afterwards")


def _refuse(value, kind, by_value):
    """Raises `Cannot` for what could be pickled and would not be the same afterwards."""
    torch, widgets = sys.modules.get("torch"), sys.modules.get("ipywidgets")
    tensor = getattr(torch, "Tensor", None)
    if tensor is not None and issubclass(kind, tensor) and value.device.type != "cpu":
        raise Cannot(f"a tensor on {value.device}: move it with .cpu() first")
    widget = getattr(widgets, "Widget", None)
    if widget is not None and issubclass(kind, widget):
        raise Cannot("a widget: its other half is in the page")
    if issubclass(kind, io.IOBase) and not issubclass(kind, (io.BytesIO, io.StringIO)):
        raise Cannot("an open file")
    if kind is memoryview and not value.readonly:
        raise Cannot("a memoryview: carry what it is a view of, and make it anew afterwards")
    shared = sys.modules.get("multiprocessing.shared_memory")
    if shared is not None and issubclass(kind, (shared.SharedMemory, shared.ShareableList)):
        raise Cannot(
            "shared memory, which is removed when this interpreter ends: carry a copy of what is in it, such as bytes(….buf)"
        )
    if not by_value and issubclass(kind, (type, types.FunctionType)) and value.__module__ == "__main__":
        raise Cannot(f"{value.__qualname__} is defined in the notebook: install cloudpickle to carry it")


# ---------------------------------------------------------------------- where they go


def load(names, arrays):
    """What was written to the files of these paths."""
    global _arrays
    _arrays = os.open(arrays, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with open(names, "rb", buffering=1 << 20) as file:
            return pickle.load(file)
    finally:
        os.close(_arrays)
        _arrays = -1


def _by_name(name):
    return _user_namespace()[name]


def _user_namespace():
    from IPython.core.getipython import get_ipython

    return get_ipython().user_ns


def _array(at, shape, strides, dtype, kind, writeable):
    import numpy

    value = numpy.empty(shape, dtype) if strides is None else numpy.ndarray(shape, dtype, strides=strides)
    view = _bytes_of(value.transpose(_axes(value)))
    done = 0
    while done < len(view):
        read = os.preadv(_arrays, [view[done : done + _PIECE]], at + done)
        if not read:
            raise EOFError("an array was cut short")
        done += read
    return _shown(numpy, value, kind, writeable)


def _view(owner, start, shape, strides, dtype, kind, writeable):
    import numpy

    if type(owner) in _BUFFERS:
        memory = numpy.frombuffer(owner, numpy.uint8)
    else:
        plain = numpy.ndarray.view(owner, numpy.ndarray)
        if writeable and not plain.flags.writeable:  # the owner was locked when there was a view of it
            numpy.ndarray.flags.__get__(owner).writeable = True
            value = _view(owner, start, shape, strides, dtype, kind, writeable)
            numpy.ndarray.flags.__get__(owner).writeable = False
            return value
        memory = plain.transpose(_axes(plain)).reshape(-1).view(numpy.uint8)
    return _shown(numpy, numpy.ndarray(shape, dtype, memory, start, strides), kind, writeable)


def _shown(numpy, value, kind, writeable):
    if kind is not numpy.ndarray:
        value = numpy.ndarray.view(value, kind)
    if not writeable:
        value.flags.writeable = False
    return value
