"""IPython's application object: profile, configuration files, command line, extensions, start-up files.

All of it is IPython's own work. Loading it costs a tenth of the start, so it is left out where nothing was configured.
"""

import sys

from IPython.core.application import BaseIPythonApplication, base_aliases, base_flags
from IPython.core.shellapp import InteractiveShellApp, shell_aliases, shell_flags
from traitlets import Any, Dict, Unicode


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

    def init_crash_handler(self):
        """None: an uncaught exception is the kernel's to report."""

    @property
    def session(self):
        """The façade of the session."""
        return self.kernel.session


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


def run(app):
    """Does what was configured to happen at the start."""
    app.init_gui_pylab()
    app.init_extensions()
    app.init_code()
