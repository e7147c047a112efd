"""What libraries find as `get_ipython().kernel`: the names of ipykernel's kernel that somebody is known to look for."""

import sys
import warnings

from .replies import error_of, text_of


class PassesFor:
    """Lets `isinstance` see a class of ipykernel's where that is loaded; `type` tells the truth."""

    passes_for = ()  # (module, name), the most special first
    borrows_names = True

    @property
    def __class__(self):
        """The class that this passes for."""
        for module, name in self.passes_for if self.borrows_names else ():
            theirs = getattr(sys.modules.get(module), name, None)
            if isinstance(theirs, type):
                return theirs
        return type(self)


class Facade(PassesFor):
    """The part of the kernel that is there for libraries."""

    passes_for = (("ipykernel.ipkernel", "IPythonKernel"), ("ipykernel.kernelbase", "Kernel"))
    implementation = "rust-hygiene"
    int_id = -1
    eventloop = None
    _control_parent = {}
    _supports_kernel_subshells = True

    @property
    def banner(self):
        """IPython's banner."""
        return self.shell.banner

    @property
    def user_ns(self):
        """The notebook's namespace."""
        return self.shell.user_ns

    @property
    def user_module(self):
        """The notebook's module."""
        return self.shell.user_module

    @property
    def execution_count(self):
        """Number of the cell in hand."""
        return self.shell.execution_count

    @property
    def config(self):
        """The shell's configuration."""
        return self.shell.config

    @property
    def profile_dir(self):
        """The shell's profile."""
        return self.shell.profile_dir

    @property
    def parent(self):
        """The application, as ipykernel's kernel has one."""
        return self.app

    @property
    def app(self):
        """IPython's application object; made when first used, if the start did without."""
        if self._app is None:
            from .application import adopt

            self._app = adopt(self)
        return self._app

    @property
    def io_loop(self):
        """Tornado's view of the event loop, for libraries that use tornado."""
        from tornado.ioloop import IOLoop

        return IOLoop.current()

    @property
    def comm_manager(self):
        """The manager of comms; made when first used."""
        if self._comms is None:
            from .comms import comm_manager

            self._comms = comm_manager(self)
        return self._comms

    @property
    def shell_stream(self):
        """An address to send to, as `shell_socket`."""
        return self.shell_socket

    @property
    def shell_streams(self):
        """The same, in a list."""
        return [self.shell_socket]

    @property
    def control_stream(self):
        """An address to send to, as `control_socket`."""
        return self.control_socket

    @property
    def shell_class(self):
        """The shell's class."""
        return type(self.shell)

    def has_trait(self, name):
        """Whether there is an attribute of this name: the kernel's are no traits."""
        return hasattr(self, name)

    @property
    def _parent_header(self):
        warnings.warn(
            "Kernel._parent_header is deprecated in ipykernel 6. Use .get_parent()",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.get_parent()

    @property
    def _parent_ident(self):
        # the sockets are the front's; a client of jupyter_client calls its socket by its session
        header = self.get_parent().get("header", {})
        return {"shell": [header.get("session", "").encode()], "control": []}

    @classmethod
    def instance(cls, *args, **kwargs):
        """The kernel."""
        from IPython import get_ipython

        return get_ipython().kernel

    @classmethod
    def initialized(cls):
        """True: it runs."""
        return True

    def _topic(self, topic):
        return f"kernel.{self.ident}.{topic}".encode()

    def get_parent(self, channel=None):
        """The whole request that is being answered; of control, which the front answers, one that was set."""
        return self._control_parent if channel == "control" else self.shell.get_parent()

    def set_parent(self, ident, parent, channel="shell"):
        """Makes `parent` the request of all outputs from now on."""
        if channel == "control":
            self._control_parent = parent
        elif channel == "shell":
            self.shell.set_parent(parent)

    def send_response(
        self,
        stream,
        msg_or_type,
        content=None,
        ident=None,
        buffers=None,
        track=False,
        header=None,
        metadata=None,
        channel=None,
    ):
        """Sends a message on iopub as an output of the request in hand."""
        return self.session.send(
            stream, msg_or_type, content, self.get_parent(), ident, buffers, track, header, metadata
        )

    def do_one_iteration(self):
        """Kept for libraries: the front serves all channels at any time."""

    async def do_execute(
        self,
        code,
        silent,
        store_history=True,
        user_expressions=None,
        allow_stdin=False,
        *,
        cell_meta=None,
        cell_id=None,
    ):
        """Runs code as a cell within the one in hand; returns what an `execute_reply` would hold."""
        here, shell = self.here, self.shell  # a subshell's cell has an input of its own
        arguments = here._run_arguments(silent, store_history, cell_id, cell_meta)
        outer, here._allow_stdin = here._allow_stdin, allow_stdin
        try:
            if here._is_async(code):
                result = await shell.run_cell_async(code, **here._transformed(code), **arguments)
            else:
                result = shell.run_cell(code, **arguments)
        finally:
            here._allow_stdin = outer
        error = error_of(result)
        return here._content_of_reply(error, text_of(error), user_expressions)

    def do_shutdown(self, restart):
        """Ends the kernel after the cell in hand."""
        self.shell.exit_now = True
        return {"status": "ok", "restart": restart}

    def do_clear(self):
        """Empties the notebook's namespace."""
        self.shell.reset(False)
        return {"status": "ok"}
