"""Rebirth: the user's variables go through files in memory into a fresh interpreter, which then takes the place of this one.

`carry` writes them here, `restore` reads them there. Arrays go as their bytes, read straight into new ones; everything else as a
pickle, with cloudpickle where it is installed, so that functions and classes of the notebook come along. Until the fresh interpreter
has everything, nothing has changed.
"""

import ast
import importlib
import io
import json
import os
import pickle
import sys
import types

from .holders import shell_names

_ALIGNED = 64
_PIECE = 64 << 20

lent = {}  # in a copy of an interpreter: the classes and functions that came from there, as `named` tells them
_replayed = []  # imports of interpreters before this one
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


def named(namespace):
    """{id: (name, value)} of the namespace's classes and functions, which whoever is to get values of a copy of it has too.

    The values are kept: else what the cell makes could get the id of what it has let go of.
    """
    return {id(value): (name, value) for name, value in namespace.items() if _is_of_notebook(value)}


def _is_of_notebook(value):
    kind = type(value)
    if kind is types.FunctionType:
        return value.__module__ == "__main__"
    return issubclass(kind, type) and type.__getattribute__(value, "__module__") == "__main__"


def _carrier(namespace, known=()):
    """The class of picklers for values of this namespace; those in `known` are found by their name where they go."""
    base, by_value = _bases()

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
            if numpy is not None and kind is numpy.ndarray and not value.dtype.hasobject:
                return self._reduce_array(numpy, value)
            _refuse(value, kind, by_value)
            return super().reducer_override(value) if by_value else NotImplemented

        def _reduce_array(self, numpy, value):
            base = value.base
            if type(base) is numpy.ndarray and base.flags.c_contiguous and not base.dtype.hasobject:
                start = value.__array_interface__["data"][0] - base.__array_interface__["data"][0]
                return _view, (base, start, value.shape, value.strides, value.dtype, value.flags.writeable)
            order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
            flat = (value if order == "C" else value.T).reshape(-1)  # a copy only where it is not contiguous
            at = self._arrays.write(flat.view(numpy.uint8) if flat.nbytes else flat)
            return _array, (at, value.shape, value.dtype, order, value.flags.writeable)

    return Carrier


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
    if not by_value and issubclass(kind, (type, types.FunctionType)) and value.__module__ == "__main__":
        raise Cannot(f"{value.__qualname__} is defined in the notebook: install cloudpickle to carry it")


class _Arrays:
    """The file with the bytes of arrays."""

    def __init__(self, fd):
        self._fd, self._end = fd, 0

    def write(self, data):
        """Writes a buffer; returns where it begins."""
        at = -(-self._end // _ALIGNED) * _ALIGNED
        view = memoryview(data).cast("B") if data.nbytes else b""
        done = 0
        while done < len(view):
            done += os.pwrite(self._fd, view[done : done + _PIECE], at + done)
        self._end = at + done
        return at

    @property
    def size(self):
        """Bytes so far."""
        return self._end


class _Nowhere:
    """Takes a pickle and the bytes of arrays, and keeps neither."""

    size = 0

    @staticmethod
    def write(data):
        """Nothing."""
        return 0


def user_names(shell, facts):
    """The names that are the user's, of which those beginning with an underscore are left out."""
    shells = facts.shell_names() if facts is not None else shell_names(shell)
    return [n for n in shell.user_ns if type(n) is str and n not in shells and not n.startswith("_")]


def refusals(shell, names, known=()):
    """{name: why it cannot be carried}."""
    carrier, found = _carrier(shell.user_ns, known), {}
    for name in names:
        if name not in shell.user_ns:
            found[name] = "there is no such name"
            continue
        try:
            carrier(_Nowhere(), _Nowhere()).dump(shell.user_ns[name])
        except Exception as error:
            found[name] = str(error) or type(error).__name__
    return found


def carry(shell, names, fds=None, known=()):
    """Writes the names' values; (file descriptors, bytes). Raises if one cannot be carried."""
    fds = fds or [os.memfd_create("names"), os.memfd_create("arrays")]
    try:
        arrays = _Arrays(fds[1])
        with open(fds[0], "wb", buffering=1 << 20, closefd=False) as file:
            _carrier(shell.user_ns, known)(file, arrays).dump({name: shell.user_ns[name] for name in names})
        return fds, os.fstat(fds[0]).st_size + arrays.size
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def imports(shell):
    """The import statements at top level of the cells so far that succeeded, each once, in their order."""
    found = dict.fromkeys(_replayed)
    for source in list(shell.history_manager.input_hist_parsed):
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError):
            continue
        for statement in body:
            if _succeeded(statement):
                text = ast.unparse(statement)
                found.pop(text, None)  # what is bound last counts
                found[text] = None
    return list(found)


def _succeeded(statement):
    if isinstance(statement, ast.Import):
        return all(alias.name in sys.modules for alias in statement.names)
    if isinstance(statement, ast.ImportFrom):
        module = sys.modules.get(statement.module)
        there = all(
            alias.name == "*"
            or hasattr(module, alias.name)
            or f"{statement.module}.{alias.name}" in sys.modules
            for alias in statement.names
        )
        return statement.level == 0 and module is not None and there
    return False


def be_reborn(shell, words, afterwards):
    """`%hygiene rebirth`."""
    from IPython.core.error import UsageError

    kernel = shell.kernel
    dry_run = "--dry-run" in words
    named = [word for word in words if word != "--dry-run"]
    if kernel.here is not kernel or kernel.subshells:
        raise UsageError("%hygiene rebirth ends all threads of the interpreter: delete the subshells first.")
    code = (shell.code_in_hand() or "").strip()
    if not dry_run and len(code.splitlines()) != 1:
        raise UsageError(
            "%hygiene rebirth must stand alone in its cell: nothing after it would run where it should."
        )
    names = named or user_names(shell, kernel.facts)
    cannot = refusals(shell, names)
    if cannot:
        lines = "\n".join(f"  {name}: {why}" for name, why in cannot.items())
        others = " ".join(name for name in names if name not in cannot)
        advice = f"These can be carried: %hygiene rebirth {others}" if others else "Nothing else is there."
        raise UsageError(f"Nothing has changed. These cannot be carried:\n{lines}\n{advice}")
    if dry_run:
        print(f"All of these can be carried: {', '.join(names) or 'there are no names'}")
        return
    shell.history_manager.writeout_cache()
    fds, size = carry(shell, names)
    try:
        print(kernel.order("rebirth", [json.dumps(payload(shell, names, fds)), str(size)]))
    finally:
        for fd in fds:
            os.close(fd)


def payload(shell, names, fds, is_lent=False):
    """What the fresh interpreter is told; with `is_lent` that it is a copy, which will be asked for results."""
    return {
        "pid": os.getpid(),
        "fds": fds,
        "imports": imports(shell),
        "names": names,
        "lent": is_lent,
        "cwd": os.getcwd(),
        "path": list(sys.path),
        "environ": dict(os.environ),
    }


# ---------------------------------------------------------------------- in the fresh interpreter


def restore(shell, given):
    """Puts everything back; raises if anything fails."""
    os.chdir(given["cwd"])
    sys.path[:] = given["path"]
    for name in set(os.environ) - set(given["environ"]):
        del os.environ[name]
    os.environ.update(given["environ"])
    for statement in given["imports"]:
        try:
            exec(compile(statement, "<rebirth>", "exec"), shell.user_ns)
        except Exception as error:
            raise Cannot(f"`{statement}` fails in a fresh interpreter: {error}") from error
        if statement.startswith("from __future__"):
            compile_flags(shell, statement)
    _replayed[:] = given["imports"]
    builtins = shell.user_ns.get("__builtins__")
    try:
        shell.user_ns.update(load(*(f"/proc/{given['pid']}/fd/{fd}" for fd in given["fds"])))
    finally:
        if builtins is not None:
            shell.user_ns["__builtins__"] = builtins
    if given["lent"]:
        lent.update(named(shell.user_ns))


def load(names, arrays):
    """What `carry` has written to the files of these paths."""
    global _arrays
    _arrays = os.open(arrays, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with open(names, "rb", buffering=1 << 20) as file:
            return pickle.load(file)
    finally:
        os.close(_arrays)
        _arrays = -1


def compile_flags(shell, statement):
    """A `__future__` import holds for all later cells."""
    shell.compile(statement, "<rebirth>", "exec")


def _by_name(name):
    return _user_namespace()[name]


def _user_namespace():
    from IPython.core.getipython import get_ipython

    return get_ipython().user_ns


def _array(at, shape, dtype, order, writeable):
    import numpy

    value = numpy.empty(shape, dtype, order)
    flat = (value if order == "C" else value.T).reshape(-1)
    if flat.nbytes:
        view = memoryview(flat.view(numpy.uint8)).cast("B")
        done = 0
        while done < len(view):
            read = os.preadv(_arrays, [view[done : done + _PIECE]], at + done)
            if not read:
                raise EOFError("an array was cut short")
            done += read
    value.flags.writeable = writeable
    return value


def _view(base, start, shape, strides, dtype, writeable):
    import numpy

    readable = base.flags.writeable
    value = numpy.ndarray(shape, dtype, base, start, strides)
    if readable and not writeable:
        value.flags.writeable = False
    return value
