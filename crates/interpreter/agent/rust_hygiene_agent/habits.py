"""What the notebook's own functions do with a container: whether they keep it to a bound, and whether they fill it as one fills a cache.

Code is read and never run: a function names the container, and its instructions store items in it or take some away.
"""

import opcode
import types
from collections import OrderedDict, defaultdict, deque
from itertools import islice

from .kinds import attribute, derives, module_of, mro_of, referents

_EVICTING = frozenset(("popitem", "popleft", "pop", "move_to_end"))
_ASKING = frozenset(("get", "KeyError"))
_REGISTERING = frozenset(("append", "add", "extend", "appendleft"))
_FILLING = _REGISTERING | {"setdefault", "update", "insert"}
_DELETE, _STORE, _IN = (opcode.opmap[name] for name in ("DELETE_SUBSCR", "STORE_SUBSCR", "CONTAINS_OP"))
_BINDS = frozenset(opcode.opmap[name] for name in ("STORE_ATTR", "STORE_GLOBAL"))
_SLICES = frozenset(opcode.opmap.get(name, -1) for name in ("BUILD_SLICE", "BINARY_SLICE"))
_CACHES = ("cache", "memo")
_MAPPINGS = frozenset(map(id, (dict, OrderedDict, defaultdict)))
_PLAIN = frozenset(map(id, (list, dict, set, OrderedDict, defaultdict, deque)))
_maxlen = deque.maxlen.__get__
_class_dict = type.__dict__["__dict__"].__get__
_MOST = 2_000  # functions
_LONGEST = 20_000  # bytes of code
_ENTRIES = 3
_DOWN, _WIDE = 4, 200  # levels, and objects of each, in which a key is looked for


def evicts(function, name=None):
    """Whether a function takes single things out of a container, of that name if one is given, as one does that keeps to a bound."""
    code = _code_of(function, name)
    if code is None:
        return False
    steps = code.co_code[::2]  # each instruction is a word
    return (_DELETE in steps and not _replaces(code, steps)) or _pops(code, name) or _cuts(code, steps, name)


def _replaces(code, steps):
    """Whether all that it deletes are items by a key that it was given, and it stores items as well: no bound, but a new value for a key."""
    if _STORE not in steps or len(code.co_code) > _LONGEST:
        return False
    import dis

    given = code.co_varnames[: code.co_argcount]
    before = None
    for step in dis.get_instructions(code):
        if step.opcode == _DELETE:
            keys = before.argval if type(before.argval) is tuple else (before.argval,)
            if not before.opname.startswith("LOAD_FAST") or keys[-1] not in given:
                return False
        before = step
    return True


def _pops(code, name):
    """Whether it calls one of the methods that take things out, right after the name."""
    if name is None:
        return not _EVICTING.isdisjoint(code.co_names)
    if _EVICTING.isdisjoint(code.co_names) and "clear" not in code.co_names:
        return False
    if len(code.co_code) > _LONGEST:
        return False
    import dis

    words = [step.argval for step in dis.get_instructions(code) if type(step.argval) is str]
    called = {word for before, word in zip(words, words[1:]) if before == name}
    # One that fills it and empties it keeps to a bound; one that only empties it waits to be called.
    fills = _STORE in code.co_code[::2] or not _REGISTERING.isdisjoint(called)
    return not _EVICTING.isdisjoint(called) or (fills and "clear" in called)


def _cuts(code, steps, name):
    """Whether it binds the name to a part of something: `self.last = self.last[-9:]`."""
    if name is None or not (_SLICES & {*steps} or any(type(one) is slice for one in code.co_consts)):
        return False
    if opcode.EXTENDED_ARG in steps:
        return False  # the numbers of names are in two pieces
    bound = (at for step, at in zip(steps, code.co_code[1::2]) if step in _BINDS and at < len(code.co_names))
    return name in (code.co_names[at] for at in bound)


def remembers(function, name=None):
    """Whether a function looks for something in a container and stores what is not there yet."""
    code = _code_of(function, name)
    if code is None or not _REGISTERING.isdisjoint(code.co_names):
        return False
    steps = code.co_code[::2]
    return _STORE in steps and (_IN in steps or not _ASKING.isdisjoint(code.co_names))


def fills(function, name):
    """Whether a function that names a container may be what puts things into it: others only read what somebody else has filled."""
    code = _code_of(function, name)
    if code is None:
        return False
    return _STORE in code.co_code[::2] or not _FILLING.isdisjoint(code.co_names)


def _code_of(function, name):
    if type(function) is not types.FunctionType:
        return None
    code = function.__code__
    return code if name is None or name in code.co_names or name in code.co_freevars else None


def of_class(cls):
    """The functions of a class and of those of the notebook's that it derives from."""
    for base in mro_of(cls):
        if module_of(base) == "__main__":
            for member in list(_class_dict(base).values()):
                kind = type(member)
                if kind is classmethod or kind is staticmethod:
                    member = member.__func__
                elif kind is property:
                    member = member.fget
                if type(member) is types.FunctionType:
                    yield member


def of_notebook(namespace):
    """The functions of the notebook's, also those of its classes."""
    found = []
    for value in list(namespace.values()):
        if type(value) is types.FunctionType:
            if value.__globals__ is namespace:
                found.append(value)
        elif derives(type(value), type) and module_of(value) == "__main__":
            found += of_class(value)
        if len(found) > _MOST:
            break
    return found


class Habits:
    """What the functions of one namespace do; they are gathered once, when they are first asked for."""

    def __init__(self, namespace):
        """Nothing is gathered yet."""
        self._namespace = namespace
        self._by_name = None  # what a function names -> functions
        self._classes = {}  # id of a class -> names of its caches, or None where its instances are one

    def _naming(self, name):
        """The notebook's functions that name something."""
        if self._by_name is None:
            self._by_name = {}
            for function in of_notebook(self._namespace):
                code = function.__code__
                for word in {*code.co_names, *code.co_freevars}:
                    self._by_name.setdefault(word, []).append(function)
        return self._by_name.get(name, ())

    def is_bounded(self, name, value, part):
        """Whether what grew keeps to a bound: by itself, or since something of the notebook's takes items out of it.

        `part` is (expression, container) if it is within the value, else None.
        """
        expression, container = (name, value) if part is None else part
        kind = type(container)
        if kind is deque and _maxlen(container) is not None:
            return True
        if part is None and module_of(kind) == "__main__":
            return _is_container(kind) and any(map(evicts, of_class(kind)))
        called = expression.rpartition(".")[2]
        if id(kind) not in _PLAIN or not called.isidentifier():
            return False
        functions = [*self._naming(called), *(() if part is None else of_class(type(value)))]
        return any(evicts(one, called) for one in functions)

    def memo(self, name, value):
        """(expression, container) of what a variable keeps as one keeps a cache, without a bound; None if there is none.

        A subclass of `dict` whose `__missing__` stores what was made; or a dictionary that is called a cache, which a function looks
        into before it stores, and which is the variable itself or an attribute of it. Or a WeakKeyDictionary that keeps its keys.
        """
        kind = type(value)
        if kind is attribute("weakref", "WeakKeyDictionary"):
            data = _own(value, "data")
            return (name, data) if type(data) is dict and _keeps_its_keys(data) else None
        if id(kind) in _MAPPINGS:
            return (name, value) if _is_called_a_cache(name) and _is_memo(name, self._naming(name)) else None
        if module_of(kind) != "__main__" or derives(kind, type):
            return None
        caches = self._classes.get(id(kind), _unknown)
        if caches is _unknown:
            caches = self._classes[id(kind)] = _caches_of(kind)
        if caches is None:
            return (name, value) if _holds_data(value) else None
        for key in caches:
            part = _own(value, key)
            if id(type(part)) in _MAPPINGS and len(part) >= _ENTRIES:
                return f"{name}.{key}", part
        return None


_unknown = object()


def _keeps_its_keys(data):
    """Whether values of a WeakKeyDictionary lead to their own keys: then no key ever goes."""
    items = [*islice(data.items(), _ENTRIES)]
    keys = [
        reference() for reference, _ in items
    ]  # held for a moment: none of them may go while it is looked for
    return bool(items) and all(
        key is not None and _leads_to(value, key) for key, (_, value) in zip(keys, items)
    )


def _leads_to(value, key):
    level = [value]
    for _ in range(_DOWN):
        if any(one is key for one in level):
            return True
        level = [one for one in referents(level[:_WIDE]) if type(one) is not type]
    return False


def _own(value, name):
    """An attribute of the instance, which its class has nothing to do with: no code runs, and no dictionary is made for it."""
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


def _caches_of(kind):
    """The attributes that the functions of a class fill as one fills a cache; None if its instances are such a dictionary."""
    functions = [*of_class(kind)]
    if derives(kind, dict):
        missing = any(
            one.__code__.co_name == "__missing__" and _STORE in one.__code__.co_code[::2] for one in functions
        )
        return None if missing and not any(map(evicts, functions)) else ()
    names = {name for one in functions for name in one.__code__.co_names if _is_called_a_cache(name)}
    names -= {name for base in mro_of(kind) for name in _class_dict(base) if type(name) is str}
    return tuple(name for name in names if _is_memo(name, functions))


def _is_called_a_cache(name):
    return any(word in name.lower() for word in _CACHES)


def _is_memo(name, functions):
    return any(remembers(one, name) for one in functions) and not any(evicts(one, name) for one in functions)


def _is_container(kind):
    return any(derives(kind, base) for base in (list, dict, set, deque))


def _holds_data(value):
    """Whether the values are not containers that are filled later, as those of a tree or of a `defaultdict` are."""
    try:
        first = next(iter(dict.values(value)), None)
    except RuntimeError:  # a thread fills it
        return False
    return first is not None and type(first) is not type(value) and id(type(first)) not in _PLAIN
