"""The local variables of frames that are running in other threads, read without a trace.

`frame.f_locals` of a running function leaves a snapshot in the frame up to Python 3.12: it keeps the values alive and shows up in the
user's own `locals()`. So they are read where the interpreter has them. The layout is tried on a frame of our own first; where
it does not fit, nothing is read.
"""

import gc
import sys

_FRAME = 24  # offset of the interpreter's frame in a frame object, 3.11 and 3.12
_LOCALS = 72  # offset of the local variables in it
_fits = None  # whether the layout was found right


def locals_of(frame):
    """The values of the frame's variables; those of enclosing functions come as cells."""
    if sys.version_info >= (3, 13):
        return list(frame.f_locals.values())  # a view, which leaves nothing behind
    if sys.version_info < (3, 11):
        return gc.get_referents(frame)
    return _read(frame) if _layout_fits() else []


def _read(frame):
    from .libc import object_at, word_at

    code = frame.f_code
    count = len({*code.co_varnames, *code.co_cellvars, *code.co_freevars})
    start = word_at(id(frame) + _FRAME) + _LOCALS
    values = [object_at(start + 8 * i) for i in range(count)]
    return [value for value in values if value is not None]


def _layout_fits():
    global _fits
    if _fits is None:
        _fits = sys.maxsize > 1 << 32 and not hasattr(sys, "gettotalrefcount") and _tried(object(), object())
    return _fits


def _tried(first, second):
    third = [first]
    frame = sys._getframe()
    found = _read(frame)
    right = [first, second, third, frame]
    fits = len(found) == 4 and all(a is b for a, b in zip(found, right))
    del frame
    found.clear()  # the frame is in both lists: it would keep itself, and those of its callers, until a collection
    right.clear()
    return fits
