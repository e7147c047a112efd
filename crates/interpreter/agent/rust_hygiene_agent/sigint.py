"""What SIGINT does in a notebook, and what `signal.default_int_handler` is there.

Libraries compare the handler in force with `signal.default_int_handler`, and put that back when they have had one of their own (asyncio,
trio). So ours goes by this name.
"""

import _signal
import signal

# Bound here: a cell may replace them in their module.
_get, _set, _python_s_own = _signal.getsignal, _signal.signal, _signal.default_int_handler


class _Function(type):
    def __repr__(cls):
        return repr(_python_s_own)

    def _repr_pretty_(cls, printer, cycle):
        printer.pretty(_python_s_own)


def handler(is_to_raise):
    """A handler that raises KeyboardInterrupt if `is_to_raise(signum, frame)` says so.

    A class, since Python's own handler can be its `__init__`, which is called only for an instance: so C code raises, and no frame of ours
    is in the traceback that the person's code is given.
    """

    class default_int_handler(metaclass=_Function):
        __doc__ = _python_s_own.__doc__
        __slots__ = ()
        __init__ = _python_s_own

        def __new__(cls, signum, frame):
            return object.__new__(cls) if is_to_raise(signum, frame) else None

    default_int_handler.__module__ = "_signal"
    default_int_handler.__qualname__ = default_int_handler.__name__
    signal.default_int_handler = default_int_handler
    return default_int_handler


def put_in_force(function):
    """Makes it the handler of SIGINT. Call it in the main thread."""
    if _get(signal.SIGINT) is not function:
        _set(signal.SIGINT, function)
