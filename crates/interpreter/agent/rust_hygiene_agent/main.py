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
    from .frames import ChannelClosed

    channel = Channel(config["channel_fd"])
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
    import builtins
    import signal

    from .compat import install
    from .compiler import XCachingCompiler
    from .kernel import IPythonKernel
    from .profile import load_config, run_startup
    from .shell import ZMQInteractiveShell
    from .streams import pair

    kernel = IPythonKernel(channel, config)
    signal.signal(signal.SIGINT, kernel.on_sigint)
    sys.argv = ["ipykernel_launcher.py", "-f", kernel.connection_file]
    if config.get("session_name"):
        os.environ["JPY_SESSION_NAME"] = config["session_name"]
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    stdout, stderr = sys.stdout, sys.stderr = pair(channel.settle)
    channel.flushers[:] = [stdout.flush, stderr.flush]
    _serve_side_requests(kernel, config["flush_fd"], config["debug_fd"])

    from IPython.paths import get_ipython_dir

    traits = load_config(get_ipython_dir(), config.get("arguments", []))
    if "db_cache_size" not in traits.HistoryManager:
        traits.HistoryManager.db_cache_size = 100  # written in idle time, not after every cell
    traits.IPKernelApp.connection_file = kernel.connection_file
    install(kernel)
    shell = ZMQInteractiveShell.instance(config=traits, kernel=kernel, compiler_class=XCachingCompiler)
    kernel.shell = stdout._shell = stderr._shell = shell
    if os.environ.get("JPY_SESSION_NAME"):
        shell.user_ns["__session__"] = os.environ["JPY_SESSION_NAME"]
    builtins.input = kernel.raw_input
    _patch_getpass(kernel)
    if config.get("restarted"):
        shell.execution_count = config["restarted"]

    if config.get("facts", True):
        from .facts import Facts

        kernel.facts = Facts(shell)
        kernel.facts.baseline()
    sys.path.insert(
        0, ""
    )  # only now: a file beside the notebook must not stand for a module of the library while we load
    kernel.modules_at_start = list(sys.modules)
    run_startup(shell, traits)
    gc.freeze()  # what start-up made stays: no collection need look at it
    gc.enable()
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
        ):
            try:
                work()
            except Exception:
                log.warning("a part of the start failed", exc_info=True)

    kernel.later = later
    kernel.server.when_idle(0.5, kernel.settle)
    kernel.server.serve()
    _leave(shell)


def _serve_side_requests(kernel, flush_fd, debug_fd):
    """A thread for what must not wait for a cell: it gives out text without a line end when the front asks, a few times a second
    while a cell runs, and starts the debugger with the first request for it."""
    import _thread
    import select

    os.set_inheritable(flush_fd, False)
    os.set_inheritable(debug_fd, False)
    flushers = kernel.channel.flushers
    poll = select.poll()
    poll.register(flush_fd, select.POLLIN)
    poll.register(debug_fd, select.POLLIN)

    def serve():
        while True:
            ready = dict(poll.poll())
            if debug_fd in ready:
                poll.unregister(debug_fd)
                if ready[debug_fd] & select.POLLIN:
                    from . import debugging

                    debugging.start(kernel, debug_fd)
            if flush_fd not in ready:
                continue
            if not os.read(flush_fd, 4096):
                return
            for flush in flushers:
                try:
                    flush()
                except (OSError, ValueError):
                    pass  # the user closed it

    _thread.start_new_thread(serve, ())


def _patch_getpass(kernel):
    import getpass

    getpass.getpass = kernel.getpass


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
