"""Starts the agent: streams, shell, event loop."""

import gc
import logging
import os
import sys

log = logging.getLogger("rust_hygiene")


def run(config, keep_compiled):
    """Makes the shell, says `ready`, and serves the front until it says `exit` or is gone."""
    gc.disable()  # nothing to collect while modules are loaded
    from .channel import Channel
    from .forks import Door
    from .frames import ChannelClosed

    door = Door(config.get("forks_fd", config["door_fd"]))
    channel = Channel(config["channel_fd"], door, config.get("passed_fd"))
    try:
        import IPython
    except ImportError as error:
        channel.send({"op": "no_ipython", "error": str(error), "executable": sys.executable})
        return
    if IPython.version_info < (8, 12):
        channel.send(
            {
                "op": "no_ipython",
                "error": f"IPython {IPython.__version__} is too old",
                "executable": sys.executable,
            }
        )
        return
    try:
        _serve(config, channel, keep_compiled)
    except ChannelClosed:
        os._exit(0)


def _serve(config, channel, keep_compiled):
    import signal

    from . import segments, sigint
    from .compat import install
    from .compiler import XCachingCompiler
    from .door import open_door
    from .kernel import IPythonKernel
    from .profile import add_working_directory, is_configured
    from .shell import ZMQInteractiveShell
    from .streams import pair
    from .unseen import fill_reserve, unseen

    kernel = IPythonKernel(channel, config)
    kernel.server.loop_made = kernel.be_careful  # tasks may outlive their cells
    kernel.sigint_handler = sigint.handler(kernel.is_to_raise)
    kernel.expect_interrupts()
    _watch_for_faults(config["faults_fd"])
    segments.tell_front(config["segments_fd"])
    if config.get("guard"):
        from . import guard

        kernel.guard = guard.Guard(kernel, config["board_fd"])
        signal.signal(guard.SIGNAL, kernel.on_memory_signal)
    arguments = config.get("arguments", [])
    # the program that libraries take a notebook for lies beside IPython, where it is installed
    packages = os.path.dirname(os.path.dirname(sys.modules["IPython"].__file__))
    program = os.path.join(packages, "ipykernel_launcher.py")
    sys.argv = [program, "-f", kernel.connection_file, *arguments]
    if config.get("session_name"):
        os.environ["JPY_SESSION_NAME"] = config["session_name"]
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    stdout, stderr = sys.stdout, sys.stderr = pair(channel.settle)
    channel.flushers[:] = [stdout.flush, stderr.flush]
    channel.pipes = (stdout.own.fd, stderr.own.fd)

    from IPython.paths import get_ipython_dir

    app, settings = None, {}
    if is_configured(get_ipython_dir(), arguments):
        from . import application

        app = application.start(arguments)
        traits, settings["profile_dir"] = app.config, app.profile_dir
    else:
        from traitlets.config import Config

        traits = Config()
    if "db_cache_size" not in traits.HistoryManager:
        traits.HistoryManager.db_cache_size = 100  # written in idle time, not after every cell
    if config.get("ipykernel_names", True):
        traits.IPKernelApp.connection_file = kernel.connection_file
    install(kernel, config.get("ipykernel_names", True))
    shell = ZMQInteractiveShell.instance(
        config=traits, kernel=kernel, compiler_class=XCachingCompiler, **settings
    )
    kernel.shell = stdout.shell = stderr.shell = shell
    kernel.streams = (stdout, stderr)
    if kernel.server.loop is not None:
        kernel.be_careful()
    if app is not None:
        application.attach(app, kernel)
        kernel._app = app
    if os.environ.get("JPY_SESSION_NAME"):
        shell.user_ns["__session__"] = os.environ["JPY_SESSION_NAME"]
    if config.get("restarted"):
        shell.execution_count = config["restarted"]

    if config.get("facts", True):
        from .facts import Facts

        kernel.facts = Facts(shell)
        kernel.facts.baseline()
    kernel.modules_at_start = list(sys.modules)
    if app is None:
        add_working_directory()
        shell.extension_manager.load_extension("storemagic")
    else:
        app.init_path()
        application.run(app)
    open_door(config["door_fd"], config["debug_fd"], kernel)
    fill_reserve()
    gc.freeze()  # what start-up made stays: no collection need look at it
    gc.enable()
    if config.get("restore"):
        _restore(channel, kernel, config["restore"])
    channel.send(
        {
            "op": "ready",
            "execution_count": shell.execution_count,
            "ipython": __import__("IPython").__version__,
        }
    )

    def later():
        """What the first cell need not wait for."""
        for work in (
            shell.open_history,
            lambda: _control_c_buffers(channel),
            keep_compiled,
            lambda: shell.Completer,
            lambda: kernel.facts and unseen(kernel.facts.settle),
        ):
            try:
                work()
            except Exception:
                log.warning("a part of the start failed", exc_info=True)

    kernel.later = later
    kernel.server.when_idle(0.5, kernel.settle)
    kernel.server.serve()
    _leave(shell)


def _watch_for_faults(fd):
    """A crash leaves its stack where the front finds it. What the user's code does with faulthandler goes before."""
    import faulthandler

    os.set_inheritable(fd, False)
    faulthandler.enable(fd)


def _restore(channel, kernel, given):
    """Takes the place of another interpreter; the front is told whether it can."""
    from . import rebirth
    from .frames import dumps

    try:
        rebirth.restore(kernel.shell, given)
        if kernel.facts is not None:
            kernel.facts.names_were_carried()
        told = {}
    except BaseException as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    channel.send({"op": "restored"}, dumps(told))


def _control_c_buffers(channel):
    """Lets the channel flush C's stdout and stderr, where `printf` of extensions waits."""
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        streams = [ctypes.c_void_p.in_dll(libc, name) for name in ("stdout", "stderr")]
    except (ImportError, OSError, ValueError):
        return
    flush = libc.fflush
    flush.argtypes = [ctypes.c_void_p]
    channel.use_c_flush(lambda: [flush(stream) for stream in streams])


def _leave(shell):
    """The orderly end: history is written, `atexit` functions run, as Python does at its own exit."""
    if shell.kernel.server.loop is not None:
        shell.kernel.server.loop.remove_reader(shell.kernel.channel.socket.fileno())
    shell.kernel.idle_work()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(0)
