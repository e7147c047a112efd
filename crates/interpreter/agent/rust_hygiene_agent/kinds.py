"""What a class or a module is, asked without running code of a metaclass or of a module that loads itself when touched."""

import gc
import sys
from contextlib import nullcontext
from itertools import compress, repeat
from operator import is_
from types import FunctionType, ModuleType

mro_of = type.__dict__["__mro__"].__get__
flags_of = type.__dict__["__flags__"].__get__
_module = type.__dict__["__module__"].__get__
_name = type.__dict__["__name__"].__get__


def type_name(kind):
    """The class's own name."""
    name = _name(kind)
    return name if type(name) is str else "object"


def module_of(kind):
    """The module in which a class was defined, or ''."""
    try:
        name = _module(kind)
    except AttributeError:
        return ""
    return name if type(name) is str else ""


def is_function_of_notebook(value):
    """Whether it is a plain function that a cell has defined. Its `__module__` may be anything, with an `__eq__` of its own."""
    if type(value) is not FunctionType:
        return False
    name = value.__module__
    return type(name) is str and name == "__main__"


def derives(kind, base):
    """Whether `kind` is `base` or a subclass, by identity."""
    return any(cls is base for cls in mro_of(kind))


def pairs(mapping):
    """(key, value) of a dictionary, as it is now. A list of them all would stay in Python's lists of free tuples, and those count for
    the next collection.
    """
    return zip(list(mapping), list(mapping.values()))


module_globals = ModuleType.__dict__["__dict__"].__get__


def referents(objects):
    """`gc.get_referents` of a list's objects, but of a module its namespace alone.

    The state of a module in C may show objects that do not live: in Python 3.12 `_asyncio` shows the iterators that it keeps for later
    use. To refer to one of them and let go of it frees it a second time, and the next who asks goes round for ever.
    """
    modules = list(compress(objects, map(is_, map(type, objects), repeat(ModuleType))))
    if not modules:
        return gc.get_referents(*objects)
    others = [one for one in objects if type(one) is not ModuleType]
    return [*gc.get_referents(*others), *map(module_globals, modules)]


def attribute(module, name):
    """What a loaded module has under a name, or None; nothing is loaded, and no `__getattr__` is asked."""
    module = sys.modules.get(module)
    if module is None or not derives(type(module), ModuleType):
        return None
    return module_globals(module).get(name)


def no_torch_function():
    """A context in which torch asks no `__torch_function__`, not even that of a mode that the user has entered for good."""
    quiet = attribute("torch._C", "DisableTorchFunction")
    return nullcontext() if quiet is None else quiet()
