"""A debugging session: its begin and its end, what the adapter tells of it, and what an interrupt does to it."""

import logging
import os
import sys
import threading
import time
from importlib.util import find_spec

from .compiler import cell_folder
from .dap import Adapter, Bell, Bystander, Disconnected
from .replies import text_of

log = logging.getLogger("rust_hygiene")

_UNWIND_S = 5.0  # for an interrupt to get out of debugpy's code
# What the agent itself may load after its start.
_LOADED_LATER = ("IPython", "asyncio")


class Refused(Exception):
    """A request that cannot be answered now; its text says why."""


class DebugSession:
    """The state of a session. `publish` takes events for the client."""

    def __init__(self, kernel, publish):
        self._kernel = kernel
        self._publish = publish
        self._address = None  # of the adapter, once debugpy listens
        self._bystander = None  # from the first session on
        self._bell = Bell()
        self.adapter = None  # the connection, while a session lasts
        self._met = {}  # what the adapter says of itself: `supports…`
        self._initialized = False
        self._is_attached = False
        self._breakpoints = {}  # path: what the client asked for, and where debugpy put them
        self._stopped = set()
        self._variables = None
        self._removed = None

    def _forward(self, message):
        if self.adapter is None:
            raise Refused("the debugger is not running: it starts with the request 'initialize'")
        return self.adapter.ask(message)

    # ------------------------------------------------------------------ interrupts

    def interrupted(self, thread, frame):
        """An interrupt is about to be raised in this thread, which is in this frame. Called by signal handlers, and by other threads.

        Raised where debugpy lets the thread stand it ends the cell, but then debugpy believes that the thread still stands, and Python
        has dropped its trace function. Both are put right.
        """
        if self.adapter is not None and _stands(frame):
            self._bell.ring(thread)

    def trace(self):
        """Lets the calling thread, which begins with a request, be traced again: an interrupt that finds it in debugpy's code ends that."""
        if self._is_attached and sys.gettrace() is None:
            debugger = _tracing_debugger()
            if debugger is not None:
                debugger.enable_tracing()

    def _put_right(self):
        """For all who rang: waits until their threads are out of debugpy's code."""
        threads = set(self._bell.answer())
        if not threads:
            return
        end = time.monotonic() + _UNWIND_S
        while (
            any(_stands(sys._current_frames().get(thread)) for thread in threads) and time.monotonic() < end
        ):
            time.sleep(0.001)
        self._stopped = set()
        # Within debugpy: its adapter would wait for a thread that really goes on.
        from _pydevd_bundle.pydevd_api import PyDevdAPI

        PyDevdAPI().request_resume_thread("*")
        _trace(threads)

    # ------------------------------------------------------------------ the session

    def _start(self):
        os.makedirs(cell_folder(), mode=0o700, exist_ok=True)
        if self._address is None:
            try:
                debugpy = import_debugpy()
                # No front end of Jupyter attaches to child processes, which would wait for it for ever.
                debugpy.configure(subProcess=False)
                _number_main_thread()
                self._address = debugpy.listen(("127.0.0.1", 0))
            except (OSError, RuntimeError) as error:  # there is no port, or a cell has called it
                raise Refused(f"debugpy cannot be started: {text_of(error)}") from error
            _stop_tracing()  # this thread, which started it
            os.register_at_fork(after_in_child=_forked)
        if not _debugpy_runs():
            raise Refused("debugpy has ended in this kernel; restart the kernel to debug again")
        if self._bystander is None:
            self._bystander = Bystander(self._address)
        self._bystander.drain()
        self.adapter = Adapter(self._address, self._happened, self._bell, self._put_right)
        self._keep_empty_lines()

    @property
    def sources(self):
        """Where something may happen that no client has asked for."""
        return [self._bell] if self.adapter is None else [self._bell, self.adapter.socket]

    def take_events(self):
        """Takes what the adapter says unasked."""
        if self.adapter is None:
            self._bell.answer()  # of a session that is over
            return
        try:
            self.adapter.receive()
        except Disconnected as error:
            log.warning("the debugger has stopped: %s", text_of(error))
            self.lost()
            self._publish({"type": "event", "seq": 0, "event": "terminated"})

    def lost(self):
        """The session is over."""
        if self.adapter is None:
            return
        self.adapter.close()
        self.adapter = None
        self._is_attached = False
        self._breakpoints = {}
        self._stopped = set()
        if self._removed is not None:
            transforms, place, transform = self._removed
            transforms.insert(min(place, len(transforms)), transform)
            self._removed = None

    def _keep_empty_lines(self):
        """Breakpoints have line numbers, so IPython must not cut the empty lines at the begin of a cell."""
        transforms = self._kernel.shell.input_transformer_manager.cleanup_transforms
        for place, transform in enumerate(transforms):
            if getattr(transform, "__name__", "") == "leading_empty_lines":
                self._removed = transforms, place, transforms.pop(place)
                return

    def _setting(self, name, default):
        """A trait of ipykernel's kernel, from the configuration or the command line."""
        config = self._kernel.shell.config
        for section in ("IPythonKernel", "IPKernel", "Kernel"):
            if section in config and name in config[section]:
                value = config[section][name]
                return value if isinstance(value, bool) else str(value).lower() in ("true", "1")
        return default

    def _rules(self):
        """What is not stopped in nor shown: the agent, and what was loaded with it."""
        paths = {"<rust-hygiene>/**", "<string>"}
        for name in self._kernel.modules_at_start:
            path = getattr(sys.modules.get(name), "__file__", None)
            if isinstance(path, str):
                paths.add(path)
        for package in _LOADED_LATER:
            paths.update(f"{folder}/**" for folder in find_spec(package).submodule_search_locations)
        return [{"path": path, "include": False} for path in sorted(paths)]

    def _happened(self, event):
        """Takes an event of the adapter."""
        kind, body = event.get("event"), event.get("body") or {}
        if kind == "initialized":
            self._initialized = True
        elif kind == "stopped":
            self._stopped.add(body.get("threadId"))
            if body.get("allThreadsStopped"):
                self.adapter.ask_later(
                    self.adapter.own("threads"), lambda reply: self._all_stopped(event, reply)
                )
                return
        elif kind == "continued":
            if body.get("allThreadsContinued", True):
                self._stopped = set()
            else:
                self._stopped.discard(body.get("threadId"))
        self._publish(event)

    def _all_stopped(self, event, reply):
        """The client learns that all threads are stopped once we know which they are."""
        for thread in (reply.get("body") or {}).get("threads", ()):
            if thread.get("name") != "IPythonHistorySavingThread":
                self._stopped.add(thread["id"])
        self._publish(event)


def _debugpy_runs():
    # An adapter without it would let `attach` wait in vain.
    from _pydevd_bundle.pydevd_constants import get_global_debugger

    return get_global_debugger() is not None


def _trace(threads):
    """Gives threads their trace function back, if this Python needs one for debugging."""
    debugger = _tracing_debugger()
    if debugger is None:
        return
    import pydevd_tracing

    trace = debugger.trace_dispatch if debugger.frame_eval_func is None else debugger.dummy_trace_dispatch
    alive = threads & set(sys._current_frames())
    pydevd_tracing.set_trace_to_threads(trace, thread_idents=alive, create_dummy_thread=False)


def _tracing_debugger():
    """debugpy's, if it is there and uses trace functions."""
    from _pydevd_bundle.pydevd_constants import PYDEVD_USE_SYS_MONITORING, get_global_debugger

    return None if PYDEVD_USE_SYS_MONITORING else get_global_debugger()


def _stop_tracing():
    if sys.gettrace() is not None:
        import pydevd_tracing

        pydevd_tracing.SetTrace(None)


def _number_main_thread():
    """Gives the main thread the number 1, which JupyterLab takes for granted. debugpy numbers threads as it comes to speak of them."""
    from _pydevd_bundle._debug_adapter.pydevd_base_schema import BaseSchema
    from _pydevd_bundle.pydevd_constants import get_thread_id

    try:
        BaseSchema._translate_id_to_dap(get_thread_id(threading.main_thread()))
    except Exception as error:
        log.warning("the number of the main thread is left to debugpy: %s", text_of(error))


def _forked():
    """A forked child stops nowhere: the thread that could let it go on is not there."""
    _stop_tracing()
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None:
        tool, events = monitoring.DEBUGGER_ID, vars(monitoring.events)
        if monitoring.get_tool(tool) is not None:
            for name, event in events.items():
                if name.isupper() and isinstance(event, int) and event.bit_count() == 1:
                    monitoring.register_callback(tool, event, None)


def _stands(frame):
    """True if debugpy lets a thread with this frame stand, except where it evaluates an expression for the client meanwhile."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.endswith("pydevd_vars.py") and code.co_name == "evaluate_expression":
            return False
        if code.co_filename.endswith("pydevd.py") and code.co_name == "do_wait_suspend":
            return True
        frame = frame.f_back
    return False


def require_debugpy():
    """Refuses if debugpy is not installed; imports nothing."""
    try:
        there = sys.modules.get("debugpy") is not None or find_spec("debugpy") is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        raise Refused(
            f"debugpy is not installed for {sys.executable}; install it with: {sys.executable} -m pip install debugpy"
        )


def import_debugpy():
    """debugpy, with pydevd importable."""
    require_debugpy()
    # It warns that nothing stops in the modules that Python has frozen, such as `os`. Without them Python starts later.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    import debugpy
    from debugpy.server import api  # noqa: F401

    return debugpy
