"""Modules of the user's own: containers that they keep under a name of theirs, and the namespaces that `%run` leaves behind."""

import gc
import os
import sys
from collections import OrderedDict, defaultdict, deque
from functools import _lru_cache_wrapper, partial
from itertools import islice
from types import FunctionType, MethodType, ModuleType
from weakref import ReferenceType

from .kinds import derives, module_globals, mro_of, pairs

CONTAINERS = frozenset(map(id, (list, dict, set, OrderedDict, defaultdict, deque)))
_LIBRARIES = ("/site-packages/", "/dist-packages/")
_STANDARD = os.path.dirname(os.__file__) + os.sep
_FEW = 20
_AROUND = 3  # references of an object that is there for one function
_class_dict = type.__dict__["__dict__"].__get__
_LEAST = 3  # items; what is shorter is no cache
_of_libraries = set()  # names of modules: there are thousands, and each is asked once


def containers():
    """[(expression, container)] of the user's modules that are imported; those of libraries are theirs to bound."""
    found = []
    for module, own in _users():
        for name, value in pairs(own):
            if id(type(value)) in CONTAINERS and type(name) is str and not name.startswith("__"):
                if length(value) >= _LEAST:
                    found.append((f"{module}.{name}", value))
    return found


def length(container):
    """How many things it holds; in a dictionary of few lists, those in the lists."""
    if type(container) is dict and len(container) < _FEW:
        return sum(len(one) if id(type(one)) in CONTAINERS else 1 for one in list(container.values()))
    return len(container)


def holds_callables(container):
    """Whether the first thing that it holds is a function or a method, as in a list of callbacks, or a container of such things.

    Libraries also put an object of theirs around each, by which it is called.
    """
    for _ in range(2):
        items = container.values() if derives(type(container), dict) else container
        first = next(iter(list(islice(items, 1))), None)
        if id(type(first)) not in CONTAINERS:
            return _is_function(first) or _is_around_function(first)
        container = first
    return False


def _is_function(value):
    return any(type(value) is kind for kind in (FunctionType, MethodType, partial))


def _is_around_function(value):
    if (
        derives(type(value), type)
        or derives(type(value), ReferenceType)
        or not any("__call__" in _class_dict(base) for base in mro_of(type(value)))
    ):
        return False
    parts = gc.get_referents(value)
    return len(parts) <= _AROUND and any(map(_is_function, parts))


def cached():
    """[(expression, function)] of the functions of the user's modules that have an `lru_cache`."""
    return [
        (f"{module}.{name}", value)
        for module, own in _users()
        for name, value in pairs(own)
        if type(value) is _lru_cache_wrapper and value.__module__ == module and type(name) is str
    ]


def _users():
    for name, module in pairs(sys.modules):
        if type(name) is not str or name in _of_libraries:
            continue
        if name == "__main__" or name.startswith("rust_hygiene_agent"):
            continue
        if not derives(type(module), ModuleType):
            continue
        own = module_globals(module)
        file = own.get("__file__")
        if type(file) is not str:
            continue
        if file.startswith((_STANDARD, "<")) or any(part in file for part in _LIBRARIES):
            _of_libraries.add(name)
        else:
            yield name, own


def scripts(shell):
    """[(file name, values)] of the namespaces that the shell keeps for scripts that were run."""
    modules = getattr(shell, "_main_mod_cache", None)
    if type(modules) is not dict:
        return []
    found = []
    for path, module in list(modules.items()):
        if type(path) is str and type(module) is ModuleType:
            values = [value for name, value in module_globals(module).items() if name != "__builtins__"]
            found.append((os.path.basename(path), values))
    return found
