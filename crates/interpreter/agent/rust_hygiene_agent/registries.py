"""Places of the process in which things are registered and forgotten. Only what is loaded is looked at, and nothing is called.

Each answer is a `Registered`: who keeps it, the roots of what is kept, and how many there are.
"""

import functools
import sys
import types
from itertools import chain

from . import own_modules
from .kinds import attribute, derives, is_function_of_notebook, module_of, mro_of, type_name
from .paths import attributes

_MANY_LOGGERS = 4
_LONG_SOURCE = 1 << 16  # characters of a cell
_UIDS = "object_name_uids"
_WIDGETS = "jupyter.widget"
_cache_info = functools._lru_cache_wrapper.cache_info
_class_dict = type.__dict__["__dict__"].__get__
_OPTIMIZED = 1  # CO_OPTIMIZED: a function, not a class body or a module


class Registered:
    """What one registry keeps."""

    __slots__ = ("count", "detail", "kind", "name", "of", "roots")

    def __init__(self, kind, name, of, roots, count=None, detail=""):
        self.kind, self.name, self.of, self.roots, self.detail = kind, name, of, roots, detail
        self.count = len(roots) if count is None else count


def _plain(value, name):
    """An attribute of an instance of a library's class, without running code of a subclass."""
    if value is None:
        return None
    if any(name in _class_dict(base) for base in mro_of(type(value))):
        return dict(attributes(value)).get(name)
    try:
        return object.__getattribute__(value, name)  # no class knows it: it is in the instance, or it is not
    except AttributeError:
        return None


def _of_class(cls, name):
    return _class_dict(cls).get(name) if derives(type(cls), type) else None


def figures():
    """Figures in pyplot's registry."""
    figs = _of_class(attribute("matplotlib._pylab_helpers", "Gcf"), "figs")
    managers = list(figs.values()) if figs is not None else []
    return [Registered("figures", "matplotlib.pyplot", "figures", managers)] if managers else []


def widgets():
    """Widgets that were never closed."""
    alive = attribute("ipywidgets.widgets.widget", "_instances")
    return [Registered("registry", "ipywidgets", "widgets", list(alive.values()))] if alive else []


def comms(shell):
    """Functions that open comms call, but for those of widgets, which are told as widgets. The target with the most of them is named."""
    held = {}
    for comm in list(shell.kernel.comm_manager.comms.values()) if "comm" in sys.modules else ():
        functions = [_plain(comm, name) for name in ("_msg_callback", "_close_callback")]
        functions = [one for one in functions if one is not None]
        target = _plain(comm, "target_name")
        if functions and type(target) is str and target != _WIDGETS:
            held.setdefault(target, []).append(functions)
    for target, functions in sorted(held.items(), key=lambda item: -len(item[1]))[:1]:
        roots = [*chain.from_iterable(functions)]
        yield Registered("registry", "comm", "comms", roots, len(functions), detail=target)


def _loggers():
    loggers = _plain(_of_class(attribute("logging", "Logger"), "manager"), "loggerDict")
    found = {"root": attribute("logging", "root"), **(loggers if type(loggers) is dict else {})}
    for name, logger in found.items():
        if not derives(type(logger), attribute("logging", "PlaceHolder")) and type(name) is str:
            yield name, logger


def handlers():
    """Handlers of loggers, each logger on its own; many loggers with one handler of the same class each are told of together."""
    alike = {}
    for name, logger in _loggers():
        held = _plain(logger, "handlers")
        if type(held) is not list or not held:
            continue
        found = Registered("registry", name, "handlers", list(held))
        if len(held) == 1:
            alike.setdefault(id(type(held[0])), []).append(found)
        else:
            yield found
    for group in alike.values():
        if len(group) < _MANY_LOGGERS:
            yield from group
        else:
            roots = [root for found in group for root in found.roots]
            yield Registered("registry", "logging", "loggers", roots, detail=type_name(type(roots[0])))


def filters():
    """Filters of loggers, each logger on its own."""
    for name, logger in _loggers():
        held = _plain(logger, "filters")
        if type(held) is list and held:
            yield Registered("registry", f"logging filters of {name}", "filters", list(held), detail=name)


def finalizers():
    """Functions that `weakref.finalize` calls one day, with their arguments."""
    infos = _of_class(attribute("weakref", "finalize"), "_registry")
    found = {}
    for info in list(infos.values()) if type(infos) is dict else ():
        function = _of_class(type(info), "func").__get__(info)
        if _is_users(function):  # torch alone has 150 of its own
            found.setdefault(_name_of(function), []).append(info)
    for name, theirs in found.items():
        yield Registered("registry", "weakref.finalize", "finalize", theirs, detail=name)


def _name_of(function):
    function = function.__func__ if type(function) is types.MethodType else function
    plain = type(function) is types.FunctionType or type(function) is types.BuiltinFunctionType
    name = function.__name__ if plain else ""
    return name if type(name) is str and name.isidentifier() else ""


def shell_events(shell):
    """Functions that the notebook registered with IPython's events."""
    callbacks = _plain(getattr(shell, "events", None), "callbacks")
    if type(callbacks) is not dict:
        return
    for event, functions in callbacks.items():
        theirs = [function for function in functions if _is_users(function)]
        if theirs:
            yield Registered("registry", str(event), "events", theirs)


def _is_users(function):
    if type(function) is types.MethodType:
        function = function.__func__
    return type(function) is not types.FunctionType or is_function_of_notebook(function)


def hooks():
    """Functions that the interpreter calls on its own account, as far as they are the notebook's."""
    called = attribute("gc", "callbacks")
    lists = [("gc.callbacks", called if type(called) is list else [])]
    for module, name in (("sys", "excepthook"), ("sys", "unraisablehook"), ("threading", "excepthook")):
        lists.append((f"{module}.{name}", [attribute(module, name)]))
    lists += _signals()
    for name, functions in lists:
        theirs = [function for function in functions if _is_notebooks(function)]
        if theirs:
            yield Registered("registry", name, "hooks", theirs)


def _signals():
    """(how it is told, [handler]) of the signals whose handler is a function of Python's."""
    ask, names = attribute("_signal", "getsignal"), attribute("signal", "Signals")
    members = _of_class(names, "_value2member_map_") if names is not None else None
    for number, member in list(members.items()) if type(members) is dict and ask is not None else ():
        handler = ask(number)
        if type(handler) is not int and handler is not None:
            yield f"signal.{member._name_}", [handler]


def _is_notebooks(function):
    """Whether a callable was made in the notebook, or does what something of the notebook's does."""
    kind = type(function)
    if kind is functools.partial:
        return _is_notebooks(_partial_function(function))
    if kind is types.MethodType:
        return _is_notebooks(function.__func__) or is_users_class(type(function.__self__))
    return is_function_of_notebook(function) if kind is types.FunctionType else is_users_class(kind)


_partial_function = functools.partial.__dict__["func"].__get__


def shell_hooks(shell):
    """Functions by which the notebook changes what it is told to run."""
    for name in ("input_transformers_post", "ast_transformers"):
        functions = getattr(shell, name, None)
        theirs = [function for function in functions or () if _is_notebooks(function)]
        if theirs:
            yield Registered("registry", f"get_ipython().{name}", "hooks", theirs)


def garbage():
    """What the collector found and put aside."""
    found = attribute("gc", "garbage")
    return [Registered("cycle", "gc.garbage", "garbage", list(found))] if found else []


def _loop():
    """The event loop of the main thread."""
    local = _plain(attribute("asyncio.events", "_event_loop_policy"), "_local")
    return getattr(local, "_loop", None)


def _by_function(handles, kind):
    """{name of the function that it calls: [handle]} of asyncio's handles, but for ours."""
    found = {}
    for handle in handles:
        if type(handle) is not kind or handle._callback is None:
            continue
        function, name = handle._callback, _name_of(handle._callback)
        if type(function) is types.MethodType:
            function = function.__func__
        if "rust_hygiene_agent" not in (getattr(function, "__module__", None) or ""):
            found.setdefault(name, []).append(handle)
    return found


def scheduled():
    """What the event loop will call at a later time."""
    waiting = _plain(_loop(), "_scheduled")
    found = _by_function(
        list(waiting) if type(waiting) is list else (), attribute("asyncio.events", "TimerHandle")
    )
    return [
        Registered(
            "suspended", _called_by(handles[0]) or name or "call_later", "handle", handles, detail=name
        )
        for name, handles in found.items()
    ]


def _called_by(handle):
    """The name of the notebook's function that a library's object calls when its time has come, or ''."""
    for called in (handle._callback, *(handle._args or ())):
        while type(called) is functools.partial:
            called = _partial_function(called)
        if type(called) is types.MethodType and not is_users_class(type(called.__self__)):
            for _, part in attributes(called.__self__):
                if is_function_of_notebook(part):
                    return _name_of(part)
    return ""


def readers():
    """What the event loop calls when something has come on a descriptor."""
    keys = _plain(_plain(_loop(), "_selector"), "_fd_to_key")
    pairs = [key[3] for key in list(keys.values())] if type(keys) is dict else []
    handles = [handle for pair in pairs if type(pair) is tuple for handle in pair]
    found = _by_function(handles, attribute("asyncio.events", "Handle"))
    return [
        Registered("registry", "asyncio", "readers", theirs, detail=name or "function")
        for name, theirs in found.items()
        if name != "_read_from_self"  # the loop's own
    ]


def formatters(shell):
    """Functions by which IPython shows the notebook's classes, and those classes: one that is defined anew is another."""
    known = _plain(getattr(shell, "display_formatter", None), "_trait_values")
    known = known.get("formatters") if type(known) is dict else None
    for mime, formatter in list(known.items()) if derives(type(known), dict) else ():
        printers = (_plain(formatter, "_trait_values") or {}).get("type_printers")
        if derives(type(printers), dict):
            theirs = [
                (kind, function)
                for kind, function in list(printers.items())
                if _is_notebooks(function) or (derives(type(kind), type) and is_users_class(kind))
            ]
            if len(theirs) > 1:
                yield Registered(
                    "registry", f"IPython's formatter of {mime}", "formatters", theirs, detail=mime
                )


def history(shell):
    """The sources of cells with much text in them, which the shell keeps twice, and for tracebacks once more."""
    manager = shell.history_manager
    cells = sum(type(text) is str and len(text) > _LONG_SOURCE for text in manager.input_hist_raw)
    if not cells:
        return []
    texts = [
        text for text in (*manager.input_hist_parsed, *manager.input_hist_raw) if len(text) > _LONG_SOURCE
    ]
    for entry in list((attribute("linecache", "cache") or {}).values()):
        if type(entry) is tuple and len(entry) > 2 and type(entry[2]) is list:
            texts += [line for line in entry[2] if type(line) is str and len(line) > _LONG_SOURCE]
    return [Registered("script", "In", "history", texts, cells)]


def models():
    """How many models Keras has built; there is nothing to see of them later."""
    made = getattr(attribute("keras.src.backend.common.global_state", "GLOBAL_STATE_TRACKER"), _UIDS, None)
    if not derives(type(made), dict):
        return []
    count = dict.get(made, "functional", 0)  # a Sequential has one within
    return [Registered("traces", "keras", "models", [], count)] if count else []


def tasks():
    """Tasks of asyncio that wait."""
    kind = attribute("asyncio.tasks", "Task")
    known = attribute("asyncio.tasks", "_scheduled_tasks") or attribute("asyncio.tasks", "_all_tasks")
    references = _plain(known, "data")
    found = {}
    for reference in list(references or ()):
        task = reference()
        if type(task) is not kind or kind.done(task):
            continue
        coroutine = kind.get_coro(task)
        code = coroutine.cr_code if type(coroutine) is types.CoroutineType else None
        if code is not None and "rust_hygiene_agent" not in code.co_filename:
            found.setdefault(code.co_name, []).append(task)
    return [Registered("suspended", name, "task", waiting) for name, waiting in found.items()]


def threads():
    """Local variables of threads that the user started, and the queues of executors."""
    active = attribute("threading", "_active") or {}
    main = _plain(attribute("threading", "_main_thread"), "_ident")
    queues = attribute("concurrent.futures.thread", "_threads_queues")
    queues = {} if queues is None else {id(thread): queue for thread, queue in list(queues.items())}
    timer = attribute("threading", "Timer")
    frames = sys._current_frames()
    found = {}
    try:
        for ident, thread in list(active.items()):
            if ident == main or ident not in frames:
                continue
            name, held = _held_by(frames[ident])
            if name is None:
                continue
            if timer is not None and type(thread) is timer:
                key, held = (
                    ("threading.Timer", "timer"),
                    [_plain(thread, part) for part in ("args", "kwargs")],
                )
            elif id(thread) in queues:
                key, held = ("ThreadPoolExecutor", "executor"), [*held, queues[id(thread)]]
            else:
                key = name or _shown(thread), "thread"
            found.setdefault(key, []).append(held)
    finally:
        frames.clear()  # our own frame is among them: a cycle with all the callers' variables
    return [
        Registered("suspended", name, of, list(chain.from_iterable(held)), len(held))
        for (name, of), held in found.items()
    ]


def _shown(thread):
    """The name of a thread; of one that was given none, that of its target, by which it is called: `Thread-7 (serve_forever)`."""
    name = _plain(thread, "_name")
    if type(name) is not str:
        return "thread"
    target = name.partition(" (")[2].rstrip(")") if name.startswith("Thread-") else ""
    return target or name


def _held_by(frame):
    """(name of the outermost function of the notebook's, values of local variables) of a thread; (None, []) of ours and of asyncio's."""
    from .running import locals_of

    name, held = "", []
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if type(module) is not str:
            module = ""
        if module.startswith("rust_hygiene_agent") or module == "asyncio.unix_events":
            return (
                None,
                [],
            )  # asyncio's waits for a child, with a way to the loop and so to all that the loop has
        if module == "__main__":
            name = frame.f_code.co_name
        # What a pool's own threads have in hand is the pool's, such as a way back to results that somebody else holds.
        if frame.f_code.co_flags & _OPTIMIZED and module != "multiprocessing.pool":
            held += locals_of(frame)
        frame = frame.f_back
    return name, held


def of_modules(shell):
    """What the user's own modules keep under names of theirs, and what is left of scripts."""
    for name, value in own_modules.containers():
        kept = "callables" if own_modules.holds_callables(value) else type_name(type(value))
        yield Registered("cache", name, "module", [value], own_modules.length(value), kept)
    for name, function in own_modules.cached():
        hits, misses, most, entries = _cache_info(function)
        detail = f"bound {'none' if most is None else most} hits {hits} misses {misses} module {name.rpartition('.')[0]}"
        yield Registered("cache", name, "lru_cache", [function], entries, detail)
    for name, values in own_modules.scripts(shell):
        yield Registered("script", name, "module", values)


def everything(shell):
    """All of them."""
    found = []
    looks = (
        figures,
        widgets,
        handlers,
        filters,
        finalizers,
        hooks,
        garbage,
        tasks,
        scheduled,
        readers,
        threads,
        models,
    )
    of_shell = (comms, shell_events, shell_hooks, formatters, history, of_modules)
    for look in (*looks, *(functools.partial(look, shell) for look in of_shell)):
        try:
            found += look()
        except Exception:  # noqa: BLE001 - another version's layout: this registry is not looked at
            continue
    return found


def children():
    """(library, number) of workers that are alive without a variable that holds their pool."""
    if attribute("joblib.externals.loky.reusable_executor", "_executor") is not None:
        return "joblib", 1
    alive = attribute("multiprocessing.process", "_children")
    return "multiprocessing", len(alive) if alive else 0


def is_users_class(kind):
    """Whether a class was defined in the notebook."""
    return module_of(kind) == "__main__"
