"""The way from a variable to an object inside of it, as an expression that a person can type.

Only exact built-in containers, instances, functions and classes are stepped into, and no attribute is asked for that could run code.
What lies deeper is reached through `gc.get_referents`, and the expression then ends at the last step that can be typed.
"""

import gc
import types
from collections import deque
from itertools import islice

from .clock import now
from .kinds import derives, module_of, mro_of, type_name

_MOST = 50_000  # objects looked at
_ITEMS = 5_000  # of one container
_KEYS = frozenset(map(id, (str, int, bool, float, type(None))))
_LONGEST = 40
_MISSING = object()
_dict_of_class = type.__dict__["__dict__"].__get__
_dict_of_module = types.ModuleType.__dict__["__dict__"].__get__


class Place:
    """Where something is: `owner` is the innermost container that can be typed, `element` what of it leads there."""

    def __init__(self, owner, owner_kind, element, value):
        self.owner, self.owner_kind = (
            owner,
            owner_kind,
        )  # expression and class name of the container; "" at the top
        self.element, self.value = element, value


def locate(name, root, target, deadline):
    """The `Place` of `target` within the value of a variable, or None if it was not found in time."""
    text = name if name.isidentifier() else f"globals()[{name!r}]"
    seen = {id(root)}
    queue = [(root, Place("", "", text, root), True)]
    looked = 0
    while queue:
        following = []
        for value, place, typed in queue:
            if value is target:
                return place
            looked += 1
            if looked > _MOST or (not looked & 63 and now() > deadline):
                return None
            found = steps(value, place.element) if typed else None
            if found is None:
                parts = [(part, place, False) for part in islice(gc.get_referents(value), _ITEMS)]
            else:
                owner, kind, members = found
                parts = [
                    (part, Place(owner, kind, expression, part), True)
                    if expression
                    else (part, Place(place.owner, place.owner_kind, place.element, place.value), False)
                    for expression, part in members
                ]
            for part in parts:
                if id(part[0]) not in seen and not derives(type(part[0]), types.ModuleType):
                    seen.add(id(part[0]))
                    following.append(part)
        queue = following
    return None


def steps(value, text):
    """(owner, its class's name, [(expression, part)]) of a value that can be stepped into; None for others."""
    kind = type(value)
    if kind is list or kind is tuple:
        return text, type_name(kind), [(f"{text}[{i}]", part) for i, part in enumerate(value[:_ITEMS])]
    if kind is set or kind is frozenset or kind is deque:
        return text, type_name(kind), [(f"next(iter({text}))", part) for part in islice(iter(value), _ITEMS)]
    if derives(kind, dict):
        items = islice(dict.items(value), _ITEMS)
        return text, "dict", [(_item(text, key), part) for key, part in items]
    if kind is types.FunctionType:
        return text, "function", list(_of_function(value, text))
    if derives(kind, type):
        members = [(k, v) for k, v in _dict_of_class(value).items() if type(k) is str]
        return text, "class", [(f"{text}.{k}", v) for k, v in members if not k.startswith("__")]
    named = attributes(value)
    if not named:
        return None
    known = {id(part) for _, part in named}
    rest = [("", part) for part in gc.get_referents(value) if id(part) not in known]
    return text, "object", [*((f"{text}.{key}", part) for key, part in named), *rest]


def _item(text, key):
    if id(type(key)) in _KEYS or (type(key) is tuple and all(id(type(part)) in _KEYS for part in key)):
        shown = repr(key)
        if len(shown) <= _LONGEST:
            return f"{text}[{shown}]"
    return ""


def _of_function(function, text):
    for i, cell in enumerate(types.FunctionType.__closure__.__get__(function) or ()):
        for part in gc.get_referents(cell):
            yield f"{text}.__closure__[{i}].cell_contents", part
    for i, part in enumerate(types.FunctionType.__defaults__.__get__(function) or ()):
        yield f"{text}.__defaults__[{i}]", part
    keywords = function.__kwdefaults__
    for part in gc.get_referents(function):
        if type(part) is dict and part is not function.__globals__:
            for key, inner in part.items():
                if type(key) is str:
                    yield (f"{text}.__kwdefaults__[{key!r}]" if part is keywords else f"{text}.{key}"), inner


def attributes(value):
    """[(name, part)] of an instance's own attributes, found without touching its `__dict__`.

    Where there is no dictionary yet (values in the object itself, from 3.11 on), the names are those that the methods of its class use.
    """
    kind = type(value)
    if module_of(kind) in ("builtins", ""):
        return []
    parts = gc.get_referents(value)
    known, names, of_class = {id(part) for part in parts}, {}, set()
    for cls in mro_of(kind):
        for key, member in _dict_of_class(cls).items():
            of_class.add(key)
            if type(member) is types.MemberDescriptorType:  # a slot
                try:
                    names[key] = member.__get__(value)
                except AttributeError:
                    pass
            elif type(member) is types.FunctionType:
                names.update(dict.fromkeys(member.__code__.co_names, _MISSING))
    for part in parts:
        if type(part) is dict and _is_dict_of(part, value, of_class):
            return [item for item in islice(part.items(), _ITEMS) if type(item[0]) is str]
    found = []
    for name, part in names.items():
        if part is _MISSING:
            part = _own(value, name, of_class)
        if id(part) in known:
            found.append((name, part))
    return found


def _own(value, name, of_class):
    """An attribute of the instance's own; anything of its classes could be code."""
    if name in of_class:
        return _MISSING
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return _MISSING


def _is_dict_of(part, value, of_class):
    """Whether a dictionary is the one of an instance, and not one of its attributes."""
    for key, item in islice(part.items(), 3):
        if type(key) is not str or (key not in of_class and _own(value, key, of_class) is not item):
            return False
    return bool(part)
