"""IPython's shell, with its outputs sent to the front.

The classes bear the names of ipykernel's: libraries recognise a notebook by them. Meaning and fields of the messages follow the
Jupyter messaging specification 5.5.
"""

import contextlib
import contextvars
import os
import sys
import warnings

from IPython.core import page
from IPython.core.autocall import ZMQExitAutocall
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Any, Bool, CBool, CBytes, Instance, Type, default

from .hooks import Hooked
from .interrupts import cares_for_interrupts, comes_out_whole
from .replies import text_of
from .routing import Parented
from .streams import flush_replaced
from .traces import cut_our_frames

# What a history manager knows of the running session, beside its file.
_HISTORY_OF_SESSION = (
    "input_hist_parsed",
    "input_hist_raw",
    "dir_hist",
    "output_hist",
    "output_hist_reprs",
    "outputs",
    "exceptions",
    "_i",
    "_ii",
    "_iii",
    "_i00",
)
# Modules that the kernel goes on using, beside those of the start and the standard library.
_OURS = set("rust_hygiene_agent IPython traitlets ipykernel comm tornado jedi parso debugpy".split())
_IMAGES = ("image/png", "image/jpeg", "image/gif", "application/pdf")


# What `%gui` and `%matplotlib` name that needs no loop but the one that runs.
_NO_LOOP = (None, "", "inline", "asyncio", "agg", "nbagg", "notebook", "webagg", "ipympl", "widget")


def _as_lines(traceback):
    """A traceback as the specification wants it, whatever a `_render_traceback_` has given."""
    if isinstance(traceback, (list, tuple)):
        return list(traceback)
    return [] if traceback is None else str(traceback).splitlines()


def _base64_images(data):
    """The bundle with binary images as base64 text, as the specification wants."""
    if not any(isinstance(data.get(mime), bytes) for mime in _IMAGES):
        return data
    from binascii import b2a_base64

    return {
        mime: b2a_base64(value, newline=False).decode("ascii")
        if mime in _IMAGES and isinstance(value, bytes)
        else value
        for mime, value in data.items()
    }


class _Routed(Parented, Hooked):
    """What outputs share: the request that they belong to, and hooks of the calling thread."""

    @property
    def session(self):
        """The façade that libraries use to send messages by hand."""
        return self.shell.kernel.session

    @property
    def pub_socket(self):
        """The façade of the iopub socket."""
        return self.shell.kernel.iopub_socket

    def _emit(self, kind, content):
        flush_replaced()
        kernel = self.shell.kernel
        if self._hooks:
            self._send_through_hooks(kernel, kind, content, self.parent_header)
        else:
            kernel.publish(kind, content, parent=self.parent_header)


class ZMQDisplayPublisher(_Routed, DisplayPublisher):
    """Publishes `display_data`, `update_display_data` and `clear_output`."""

    topic = CBytes(b"display_data")
    store_display_history = Bool(
        False, help="Whether what a cell displays is kept in the history manager's outputs."
    ).tag(config=True)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._init_hooks()

    def publish(self, data, metadata=None, *, transient=None, update=False, **kwargs):
        """Publishes a MIME bundle."""
        metadata = metadata or {}
        self._validate_data(data, metadata)
        if self.store_display_history:
            self._keep(data)
        content = {"data": _base64_images(data), "metadata": metadata, "transient": transient or {}}
        self._emit("update_display_data" if update else "display_data", content)

    def _keep(self, data):
        try:
            from IPython.core.history import HistoryOutput
        except ImportError:
            return  # IPython 8 keeps no outputs
        count = self.shell.execution_count - getattr(self, "_in_post_execute", False)
        self.shell.history_manager.outputs.setdefault(count, []).append(
            HistoryOutput(output_type="display_data", bundle=data)
        )

    def clear_output(self, wait=False):
        """Clears the cell's output now, or with the next output."""
        self._emit("clear_output", {"wait": bool(wait)})


class ZMQShellDisplayHook(_Routed, DisplayHook):
    """Publishes `execute_result`."""

    topic = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._init_hooks()
        self.msg = None

    def start_displayhook(self):
        """Begins a result."""
        self.msg = {"data": {}, "metadata": {}, "execution_count": None}

    def write_output_prompt(self):
        """Notes the number of the cell."""
        if self.msg:
            self.msg["execution_count"] = self.prompt_count

    def write_format_data(self, format_dict, md_dict=None):
        """Notes the MIME bundle."""
        if self.msg:
            self.msg["data"] = _base64_images(format_dict)
            self.msg["metadata"] = md_dict or {}

    def finish_displayhook(self):
        """Publishes the result."""
        message, self.msg = self.msg, None
        if message and message["data"]:
            self._emit("execute_result", message)


class ZMQInteractiveShell(InteractiveShell):
    """IPython's shell in a notebook."""

    displayhook_class = Type(ZMQShellDisplayHook)
    display_pub_class = Type(ZMQDisplayPublisher)
    kernel = Any()
    exiter = Instance(ZMQExitAutocall)
    readline_use = CBool(False)
    autoindent = CBool(False)
    keepkernel_on_exit = None

    def __init__(self, *args, **kwargs):
        self._parent = contextvars.ContextVar("parent")
        self._parent_of_last_cell = {}
        super().__init__(*args, **kwargs)
        self._last_traceback = None
        self._showing_was_interrupted = False
        self._told = None, ""  # an error and its text
        self._memory_error = self._told_instead = None

    @default("banner1")
    def _default_banner1(self):
        from IPython.core.usage import default_banner

        return default_banner

    @default("exiter")
    def _default_exiter(self):
        return ZMQExitAutocall(self)

    # ------------------------------------------------------------------ environment

    def init_environment(self):
        """Colours, and no interactive pager: what subprocesses see."""
        os.environ.update(
            TERM="xterm-color",
            CLICOLOR="1",
            FORCE_COLOR="1",
            CLICOLOR_FORCE="1",
            PAGER="cat",
            GIT_PAGER="cat",
        )

    def init_hooks(self):
        """The pager is a payload of the reply."""
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(self.payloadpage_page), 99)

    def init_magics(self):
        """IPython's magics and ours."""
        super().init_magics()
        from .hygiene import HygieneMagics, take_out
        from .isolate import IsolateMagics
        from .magics import KernelMagics

        self.register_magics(KernelMagics, HygieneMagics, IsolateMagics)
        self.input_transformers_cleanup.append(take_out)
        self.magics_manager.register_alias("ed", "edit")

    def init_history(self):
        """History in memory at first: the file, which may be slow or locked, is opened in idle time."""
        config = self.config.HistoryManager
        self._history_file = config.get("hist_file", None)
        config.hist_file = ":memory:"
        super().init_history()
        self.history_manager.db_cache_size = (
            sys.maxsize
        )  # nothing is written to the memory: it all goes to the file
        if self._history_file is None:
            del config["hist_file"]
        else:
            config.hist_file = self._history_file

    def open_history(self):
        """Goes over to the history file; what was entered so far goes with it. Once; a file that cannot be used is left alone."""
        manager = self.history_manager
        if manager.hist_file != ":memory:" or self._history_file == ":memory:" or not manager.enabled:
            return
        try:
            opened = type(manager)(shell=self, parent=self)
        except Exception as error:
            warnings.warn(
                f"The history file cannot be used, history is kept in memory: {error}", stacklevel=2
            )
            self._history_file = ":memory:"
            return
        for name in _HISTORY_OF_SESSION:
            if hasattr(manager, name):
                setattr(opened, name, getattr(manager, name))
        opened.db_input_cache[:0] = manager.db_input_cache
        self.configurables[self.configurables.index(manager)] = opened
        self.history_manager = opened
        manager.db.close()

    @property
    def Completer(self):
        """IPython's completer, made with the first look at it."""
        if self._completer is None:
            from .hygiene import install_matcher

            super().init_completer()
            install_matcher(self)
        return self._completer

    @Completer.setter
    def Completer(self, completer):
        self._completer = completer

    def init_completer(self):
        """Not yet: the first cell need not wait for it."""
        self._completer = None

    def init_virtualenv(self):
        """Nothing: the interpreter was chosen by the front."""

    def enable_gui(self, gui=None):
        """`%gui`: asyncio runs already; others are told so plainly."""
        if gui in _NO_LOOP:
            self.active_eventloop = gui or None
            return
        raise UsageError(
            f"The event loop {gui!r} is not supported by this kernel; use %matplotlib inline or %matplotlib widget."
        )

    # ------------------------------------------------------------------ the request that outputs belong to

    @property
    def parent_header(self):
        """The whole request in hand: of this context, else the last cell's."""
        return self._parent.get(self._parent_of_last_cell)

    @parent_header.setter
    def parent_header(self, parent):
        self.set_parent(parent)

    def take_parent(self, parent):
        """Makes a request of the front's the one in hand."""
        self._parent.set(parent)
        self._parent_of_last_cell = parent

    def set_parent(self, parent):
        """Makes `parent` the request of all outputs from now on; also of what C code and subprocesses print."""
        self.kernel.be_careful()  # a thread that calls this keeps it when the next cell begins
        self.take_parent(parent)
        self.kernel.route_raw_text(parent)

    def code_in_hand(self):
        """The code of the cell in hand, as it was sent."""
        return self.parent_header.get("content", {}).get("code")

    def get_parent(self):
        """The request that the calling thread's output belongs to."""
        return self.parent_header

    def set_thread_parent(self, parent):
        """Routes the calling thread's output to `parent`; returns a token for `reset_thread_parent`."""
        self.kernel.be_careful()
        return self._parent.set(parent)

    def reset_thread_parent(self, token):
        """Undoes `set_thread_parent`."""
        self._parent.reset(token)

    # ------------------------------------------------------------------ what a cell says beside its output

    def payloadpage_page(self, text, start=0, screen_lines=0, pager_cmd=None):
        """Shows `text`, a string or a MIME bundle, in the front end's pager."""
        data = text if isinstance(text, dict) else {"text/plain": text}
        self.payload_manager.write_payload({"source": "page", "data": data, "start": max(0, start)})

    def set_next_input(self, text, replace=False):
        """Puts `text` into the next cell, or into this one."""
        self.payload_manager.write_payload({"source": "set_next_input", "text": text, "replace": replace})

    def ask_exit(self):
        """`exit` and `quit`."""
        self.exit_now = not self.keepkernel_on_exit
        self.payload_manager.write_payload({"source": "ask_exit", "keepkernel": self.keepkernel_on_exit})

    def reset(self, new_session=True, aggressive=False):
        """Empties the namespace; `aggressive` forgets the modules that the notebook has imported, too."""
        if aggressive:
            kept = _OURS | sys.stdlib_module_names
            self._sys_modules_keys = {
                *self.kernel.modules_at_start,
                *(name for name in list(sys.modules) if name.partition(".")[0] in kept),
            }
        super().reset(new_session, aggressive)

    def run_cell(self, *args, **kwargs):
        """Runs a cell."""
        self.forget_last_error()
        return super().run_cell(*args, **kwargs)

    def forget_last_error(self):
        """What a cell leaves for its reply begins anew."""
        self._last_traceback = self._told_instead = None
        self._last_traceback_during_displayhook = self._showing_was_interrupted = False
        self._told = None, ""

    def text_of(self, error):
        """`str(error)`, which is asked for once a cell: it may never end."""
        told, text = self._told
        if told is not error:
            text = text_of(error)
            self._told = error, text
        return text

    @comes_out_whole
    def showtraceback(self, exc_tuple=None, *args, **kwargs):
        """Shows an exception, and notes whether an interrupt kept it from being shown: its `str()` may never end, so nobody asks again."""
        here = self.kernel.here
        before, shown = here.interrupts, self._last_traceback
        outer, here.shows_error = here.shows_error, True
        try:
            self._show_exception(exc_tuple, *args, **kwargs)
        except KeyboardInterrupt:
            if here.interrupts == before:
                raise
        finally:
            here.shows_error = outer
        self._showing_was_interrupted = here.interrupts != before and self._last_traceback is shown

    def _show_exception(self, exc_tuple, *args, **kwargs):
        """Shows an exception; a coroutine that an interrupt cancelled shows KeyboardInterrupt, as blocking code does."""
        _, value, trace = exc_tuple or sys.exc_info()
        cut_our_frames(trace)
        if self.kernel.here.cancelled_by_interrupt and type(value).__name__ == "CancelledError":
            exc_tuple = KeyboardInterrupt, KeyboardInterrupt().with_traceback(trace), trace
        guard = self.kernel.guard
        if guard is None:
            del value, trace
            super().showtraceback(exc_tuple, *args, **kwargs)
            return
        breach = guard.take_breach()
        if isinstance(value, (KeyboardInterrupt, self._cancelled())):
            breach = breach or guard.breach_by_interrupt()
            if breach is not None:
                # on its way through a library, or a coroutine, it has become something else
                value = self._told_instead = breach.with_traceback(trace)
                exc_tuple = MemoryError, value, trace
        if value is not None and guard.concerns(value):
            del value, trace
            self._show_memory_error(guard, exc_tuple or sys.exc_info(), args, kwargs)
            return
        del value, trace
        guard.is_telling = True
        try:
            super().showtraceback(exc_tuple, *args, **kwargs)
        finally:
            guard.is_telling = False

    def take_told(self, error):
        """The error that was shown in the place of that of the cell, or the latter; once."""
        told, self._told_instead = self._told_instead, None
        return error if told is None or error is None else told

    @staticmethod
    def _cancelled():
        """The class of a cancelled task, or of nothing where asyncio is not loaded."""
        return getattr(sys.modules.get("asyncio"), "CancelledError", KeyboardInterrupt)

    def _show_memory_error(self, guard, exc_tuple, args, kwargs):
        """Shows that memory is used up, with memory that was kept for it, and lets go of what the frames hold."""
        kind, error, trace = exc_tuple
        try:
            guard.prepare(error, trace)
            self._memory_error = error
            super().showtraceback((kind, error, trace), *args, **kwargs)
        except MemoryError:
            self._showtraceback(kind, error, [f"{kind.__name__}: {text_of(error)}"])
        finally:
            self._memory_error = None
            guard.cut(error)

    def _showtraceback(self, etype, evalue, stb):
        stb = _as_lines(stb)
        if self._memory_error is not None and evalue is self._memory_error:
            stb = [*stb, *self.kernel.guard.story(evalue)]
        if self.displayhook.msg is not None:
            # an error while a result is formatted fails the cell too
            self._last_traceback_during_displayhook = True
        flush_replaced()
        self.kernel.publish(
            "error", {"traceback": stb, "ename": str(etype.__name__), "evalue": self.text_of(evalue)}
        )
        self._last_traceback = stb

    @contextlib.contextmanager
    def _tee(self, channel):
        """Nothing: IPython 9 would keep a copy of all that is printed for `%notebook`, for ever and at a price for each write."""
        yield

    @cares_for_interrupts
    def _format_exception_for_storage(self, exception, filename=None, running_compiled_code=False):
        """What IPython 9 keeps of an error: the traceback that was shown, instead of formatting it a second time."""
        here = self.kernel.here
        before = here.interrupts
        kept = {"ename": type(exception).__name__, "evalue": "", "traceback": self._last_traceback or []}
        try:
            if self._showing_was_interrupted:
                return kept
            if self._last_traceback is None:
                return super()._format_exception_for_storage(exception, filename, running_compiled_code)
            return {**kept, "evalue": self.text_of(exception)}
        except KeyboardInterrupt:
            if here.interrupts == before:
                raise
            return kept  # the cell is over: its reply is not to be lost

    def system_piped(self, cmd):
        """`!cmd`: as IPython's, and an interrupt of the command interrupts the cell (IPython issue 13161)."""
        here = self.kernel.here
        before = here.interrupts
        try:
            super().system_piped(cmd)
        except (
            Exception
        ):  # what IPython and pexpect make of an interrupt that comes before or after the command runs
            if here.interrupts == before:
                raise
        if here.interrupts != before:
            raise KeyboardInterrupt

    system = system_piped
