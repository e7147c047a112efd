"""Rebirth: the user's variables go through files in memory into a fresh interpreter, which then takes the place of this one.

`carry` writes them here, `restore` reads them there (carrying.py). Until the fresh interpreter has everything, nothing has changed.
"""

import ast
import contextlib
import json
import os
import sys
import types

from . import copy_end
from .carrying import Arrays, Cannot, Nowhere, carrier, load
from .foresight import at_most, need
from .holders import shell_names

# Of the module that the notebook is, and of the shell: a fresh interpreter has its own.
_OF_EVERY_NOTEBOOK = frozenset(
    "__name__ __doc__ __package__ __loader__ __spec__ __builtin__ __builtins__ __session__ _exit_code"
    " __annotations__ __annotate__ __conditional_annotations__".split()
)

lent = {}  # in a copy of an interpreter: the classes and functions that came from there, as `named` tells them
_replayed = []  # imports of interpreters before this one


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


def user_names(shell, facts):
    """The names that are the user's."""
    shells = facts.shell_names() if facts is not None else shell_names(shell)
    shells |= _OF_EVERY_NOTEBOOK
    return [name for name in shell.user_ns if type(name) is str and name not in shells]


def refusals(shell, names, known=(), is_lent=False):
    """{name: why it cannot be carried}."""
    of_namespace, found = carrier(shell.user_ns, known, is_lent), {}
    for name in names:
        if name not in shell.user_ns:
            found[name] = "there is no such name"
            continue
        try:
            of_namespace(Nowhere(), Nowhere()).dump(shell.user_ns[name])
        except Exception as error:
            found[name] = str(error) or type(error).__name__
    return found


def carry(shell, names, fds=None, known=(), is_lent=False):
    """Writes the names' values; (file descriptors, bytes). Raises if one cannot be carried."""
    fds = fds or [os.memfd_create("names"), os.memfd_create("arrays")]
    try:
        arrays = Arrays(fds[1])
        with open(fds[0], "wb", buffering=1 << 20, closefd=False) as file:
            of_namespace = carrier(shell.user_ns, known, is_lent)
            of_namespace(file, arrays).dump({name: shell.user_ns[name] for name in names})
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
    try:
        files, memory = need(shell, names)
    except Exception as error:
        raise UsageError(_refused(shell, names, error)) from None
    room = kernel.order("rebirth_room", [str(files + memory)])
    if dry_run:
        print(f"All of these can be carried: {', '.join(names) or 'there are no names'}")
        return
    shell.history_manager.writeout_cache()
    fds, size = carry(shell, names)
    try:
        given = payload(shell, names, fds)
        if room:
            given["room"] = int(room) - size
        print(kernel.order("rebirth", [json.dumps(given), str(size)]))
    finally:
        for fd in fds:
            os.close(fd)


def _refused(shell, names, error):
    """What is said if the names cannot be carried together."""
    cannot = refusals(shell, names) or {"all of them together": str(error) or type(error).__name__}
    lines = "\n".join(f"  {name}: {why}" for name, why in cannot.items())
    others = " ".join(name for name in names if name not in cannot)
    advice = f"These can be carried: %hygiene rebirth {others}" if others else "Nothing else is there."
    return f"Nothing has changed. These cannot be carried:\n{lines}\n{advice}"


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
    with shell.builtin_trap:  # libraries ask for `get_ipython`, to know whether they are in a notebook
        _import(shell, given["imports"])
        with at_most(given["room"]) if "room" in given else contextlib.nullcontext():
            values = load(*(f"/proc/{given['pid']}/fd/{fd}" for fd in given["fds"]))
    builtins = shell.user_ns.get("__builtins__")
    shell.user_ns.update(values)
    if builtins is not None:
        shell.user_ns["__builtins__"] = builtins
    if given["lent"]:
        lent.update(named(shell.user_ns))
        copy_end.begin(is_fork=False)


def _import(shell, statements):
    for statement in statements:
        try:
            exec(compile(statement, "<rebirth>", "exec"), shell.user_ns)
        except Exception as error:
            raise Cannot(f"`{statement}` fails in a fresh interpreter: {error}") from error
        if statement.startswith("from __future__"):
            compile_flags(shell, statement)
    _replayed[:] = statements


def compile_flags(shell, statement):
    """A `__future__` import holds for all later cells."""
    shell.compile(statement, "<rebirth>", "exec")
