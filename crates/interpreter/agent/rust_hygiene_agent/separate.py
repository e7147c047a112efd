"""Attributes of which each subshell has its own value: what a cell leaves for the end of itself."""

import inspect
import threading

_ABSENT = object()
_of_this_thread = threading.local()


def begin():
    """From now on the calling thread has values of its own."""
    _of_this_thread.values = {}


def at_end_of_thread(function):
    """Calls `function` when the calling thread has left `threading.enumerate()` and lets go of what is its own."""
    _of_this_thread.last = _Last(function)


class _Last:
    def __init__(self, function):
        self._function = function

    def __del__(self):
        self._function()


class PerThread:
    """Stands before an attribute. Threads that have no values of their own share the object's, with all that a trait does."""

    def __init__(self, name, default, before):
        self._name = name
        self._default = default
        self._before = (
            before  # what the class had under this name: a trait, or the value of those that have none
        )
        self._is_descriptor = hasattr(type(before), "__set__")

    def __get__(self, owner, cls=None):
        if owner is None:
            return self._before.__get__(None, cls) if self._is_descriptor else self
        values = getattr(_of_this_thread, "values", None)
        if values is None:
            return self._common(owner, cls)
        key = id(owner), self._name
        if key not in values:
            values[key] = self._default()
        return values[key]

    def _common(self, owner, cls):
        if self._is_descriptor:
            return self._before.__get__(owner, cls)
        value = owner.__dict__.get(self._name, self._before)
        if value is _ABSENT:
            raise AttributeError(f"{cls.__name__!r} object has no attribute {self._name!r}")
        return value

    def __set__(self, owner, value):
        values = getattr(_of_this_thread, "values", None)
        if values is not None:
            values[id(owner), self._name] = value
        elif self._is_descriptor:
            self._before.__set__(owner, value)
        else:
            owner.__dict__[self._name] = value


def separate(owner, **defaults):
    """Makes attributes of `owner` separate ones for the threads of subshells."""
    cls = type(owner)
    for name, default in defaults.items():
        if not isinstance(vars(cls).get(name), PerThread):  # by an earlier subshell
            setattr(cls, name, PerThread(name, default, inspect.getattr_static(cls, name, _ABSENT)))
