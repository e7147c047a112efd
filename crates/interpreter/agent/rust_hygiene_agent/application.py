"""IPython's application object: profile, configuration files, command line, extensions, start-up files.

All of it is IPython's own work. Loading it costs a tenth of the start, so it is left out where nothing was configured.
"""

import json
import os
import sys

from IPython.core.application import BaseIPythonApplication, base_aliases, base_flags
from IPython.core.shellapp import InteractiveShellApp, shell_aliases, shell_flags
from traitlets import Any, Bool, Dict, Int, Unicode

from .kernel_log import Console

_UNUSED = "Accepted, and without effect in this kernel."
_CHANNELS = ("shell", "iopub", "stdin", "hb", "control")
_PORTS = tuple(f"{name}_port" for name in _CHANNELS)


class IPKernelApp(BaseIPythonApplication, InteractiveShellApp):
    """The application, under the name that configuration files know."""

    name = "ipython-kernel"
    aliases = Dict(
        {
            **base_aliases,
            **shell_aliases,
            **{name: f"IPKernelApp.{name}" for name in ("ip", "transport")},
        }
    )
    flags = Dict({**base_flags, **shell_flags})
    kernel = Any()
    connection_file = Unicode().tag(config=True)
    ip = Unicode("127.0.0.1").tag(config=True)
    transport = Unicode("tcp").tag(config=True)
    kernel_name = Unicode()
    ports = Dict()
    shell_port = Int(0, help="Port of the shell channel.").tag(config=True)
    iopub_port = Int(0, help="Port of the IOPub channel.").tag(config=True)
    stdin_port = Int(0, help="Port of the stdin channel.").tag(config=True)
    hb_port = Int(0, help="Port of the heartbeat.").tag(config=True)
    control_port = Int(0, help="Port of the control channel.").tag(config=True)
    # What concerns ipykernel's own process is accepted, so that its configuration files need no change.
    kernel_class = Unicode("ipykernel.ipkernel.IPythonKernel", help=_UNUSED).tag(config=True)
    displayhook_class = Unicode("ipykernel.displayhook.ZMQDisplayHook", help=_UNUSED).tag(config=True)
    outstream_class = Unicode("ipykernel.iostream.OutStream", help=_UNUSED).tag(config=True)
    capture_fd_output = Bool(True, help=_UNUSED).tag(config=True)
    no_stdout = Bool(False, help=_UNUSED).tag(config=True)
    no_stderr = Bool(False, help=_UNUSED).tag(config=True)
    quiet = Bool(True, help=_UNUSED).tag(config=True)
    trio_loop = Bool(False, help=_UNUSED).tag(config=True)
    interrupt = Int(0, help=_UNUSED).tag(config=True)
    parent_handle = Int(0, help=_UNUSED).tag(config=True)

    def get_default_logging_config(self):
        """What is logged goes where the kernel's log goes."""
        config = super().get_default_logging_config()
        for handler in config.get("handlers", {}).values():
            del handler["class"], handler["stream"]
            handler["()"] = Console
        return config

    def init_crash_handler(self):
        """None: an uncaught exception is the kernel's to report."""

    @property
    def session(self):
        """The façade of the session."""
        return self.kernel.session

    @property
    def abs_connection_file(self):
        """Full path of the connection file."""
        return os.path.abspath(self.connection_file)

    @property
    def connection_dir(self):
        """Folder of the connection file."""
        return os.path.dirname(self.abs_connection_file)

    def get_connection_info(self, session=False):
        """Where the kernel is, with its session or, without, with what a client must know of it."""
        places = {name: getattr(self, name) for name in ("transport", "ip", *_PORTS)}
        if session:
            return {**places, "session": self.session}
        return {**places, "signature_scheme": self.session.signature_scheme, "key": self.session.key}


def start(arguments):
    """The application with the profile and the configuration loaded; a bad argument is reported and passed over."""
    app = IPKernelApp()
    try:
        app.initialize(list(arguments))
    except SystemExit:
        print(f"The arguments {arguments} were not understood and are ignored.", file=sys.stderr)
        app = IPKernelApp()
        app.initialize([])
    return app


def adopt(kernel):
    """The application of a kernel that started without one."""
    app = IPKernelApp(config=kernel.shell.config)
    app.profile_dir = kernel.shell.profile_dir
    attach(app, kernel)
    return app


def attach(app, kernel):
    """Makes the two know each other."""
    app.kernel, app.shell, app.connection_file = kernel, kernel.shell, kernel.connection_file
    kernel.shell.configurables.append(app)
    try:
        with open(app.connection_file) as file:
            info = json.load(file)
    except (OSError, ValueError):
        return  # somebody has removed it
    app.ports = dict(zip(_CHANNELS, (info.get(port, 0) for port in _PORTS)))
    for name in ("transport", "ip", *_PORTS, "kernel_name"):
        if name in info:
            setattr(app, name, info[name])


def run(app):
    """Does what was configured to happen at the start."""
    app.init_gui_pylab()
    app.init_extensions()
    app.init_code()
