"""What libraries find when they look for ipykernel.

Libraries recognise a notebook by names of ipykernel's (docs/compatibility.md lists who looks for what). Where ipykernel is not
installed, small stand-ins answer for its modules; where it is, its real modules stay importable and the few that would try to
speak through a kernel that does not run are told about ours.
"""

import sys
import types

from .facade import PassesFor
from .offered import LOADED, offer, offer_loaded

VERSION = (7, 0, 0)


def install(kernel, borrow_names):
    """Puts the names in place, and a hook on the import of modules that must know of the kernel."""
    hooks = {
        "comm": lambda module: _connect(kernel, module),
        "asyncio": lambda module: kernel.here.server.asyncio_was_imported(),
        "_posixshmem": _note_segments,
        "pdb": lambda module: _interruptible_debugger(),
        "IPython.core.debugger": lambda module: _interruptible_debugger(),
        "wurlitzer": _forwards_already,
    }
    PassesFor.borrows_names = borrow_names
    offered = dict.fromkeys(LOADED, offer)
    if not borrow_names:
        del offered["ipykernel"]
    offer_loaded()
    hooks = {**offered, **hooks}
    if borrow_names:
        _name_classes()
        hooks["ipykernel.kernelbase"] = lambda module: setattr(module.Kernel, "_instance", kernel)
        hooks["ipykernel.kernelapp"] = lambda module: _application(kernel, module)
        hooks["ipykernel.ipkernel"] = lambda module: _reassert(kernel)
        hooks["ipykernel.iostream"] = lambda module: _stream(module)
        hooks["ipykernel.connect"] = lambda module: _connection(kernel, module)
    finder = _AfterImport(hooks, borrow_names)
    sys.meta_path.insert(0, finder)
    if borrow_names and "ipykernel" not in sys.modules:
        sys.modules["ipykernel"] = _later("ipykernel", finder)


def _note_segments(module):
    from .segments import watch

    watch(module)


def _connect(kernel, module):
    from .comms import connect

    connect(kernel, module)


def _forwards_already(wurlitzer):
    """`sys_pipes` refuses where `sys.stdout` is the descriptor that it would forward; here that is in place already."""

    def sys_pipes(encoding=wurlitzer._default_encoding, bufsize=None):
        return wurlitzer.pipes(sys.stdout, sys.stderr, encoding=encoding, bufsize=bufsize)

    wurlitzer.sys_pipes = sys_pipes


def _interruptible_debugger():
    """`pdb` is IPython's debugger, and an interrupt at its prompt ends it. Runs after the later of the two modules."""
    import pdb  # noqa: T100

    from IPython.core import debugger

    if hasattr(debugger, "InterruptiblePdb"):
        debugger.Pdb = pdb.Pdb = debugger.InterruptiblePdb
        pdb.set_trace = debugger.set_trace


def _name_classes():
    """Gives our classes the module names that libraries look at; the modules that are always ours appear with them."""
    from . import compiler, kernel, magics, session, shell, streams

    for cls in (shell.ZMQInteractiveShell, shell.ZMQDisplayPublisher, magics.KernelMagics):
        cls.__module__ = "ipykernel.zmqshell"
    compiler.XCachingCompiler.__module__ = "ipykernel.compiler"
    shell.ZMQShellDisplayHook.__module__ = "ipykernel.displayhook"
    kernel.IPythonKernel.__module__ = "ipykernel.ipkernel"
    for method in (kernel.IPythonKernel.raw_input, kernel.IPythonKernel.getpass):
        method.__module__, method.__qualname__ = "ipykernel.kernelbase", f"Kernel.{method.__name__}"
    session.Session.__module__ = "jupyter_client.session"
    session.IOPubThread.__module__ = session.BackgroundSocket.__module__ = streams.OutStream.__module__ = (
        "ipykernel.iostream"
    )
    for cls in (streams.ErrStream, streams.OutAfterErr, streams.CarefulStream, streams.ForkedStream):
        cls.__name__ = cls.__qualname__ = "OutStream"
        cls.__module__ = "ipykernel.iostream"
    _stand_in(
        "ipykernel.zmqshell",
        KernelMagics=magics.KernelMagics,
        ZMQInteractiveShell=shell.ZMQInteractiveShell,
        ZMQDisplayPublisher=shell.ZMQDisplayPublisher,
    )
    _stand_in("ipykernel.displayhook", ZMQShellDisplayHook=shell.ZMQShellDisplayHook)


def _stand_in(name, **names):
    module = types.ModuleType(name, "A stand-in by Rust-Hygiene Python.")
    module.__dict__.update(names)
    sys.modules[name] = module
    return module


def _application(kernel, module):
    """`IPKernelApp.instance()` is an application of ipykernel's own class that knows this kernel."""
    app = module.IPKernelApp.instance(config=kernel.shell.config, log=kernel.log)
    app.kernel, app.shell, app.connection_file = kernel, kernel.shell, kernel.connection_file
    app.profile_dir, app.session = kernel.shell.profile_dir, kernel.session
    others = kernel.shell.configurables
    others[:] = [*(one for one in others if one is not kernel._app), app]
    kernel._app = app
    try:
        app.load_connection_file()
    except OSError:
        pass  # somebody has removed it: the ports are not known


def _stream(module):
    from .streams import OutStream

    module.OutStream.register(OutStream)


def _reassert(kernel):
    """ipykernel.ipkernel takes `comm.create_comm` over when it is imported; this takes it back."""
    import comm

    manager, kernel._comms = kernel._comms, None
    _connect(kernel, comm)
    if manager is not None:
        comm.get_comm_manager().comms.update(manager.comms)
        comm.get_comm_manager().targets.update(manager.targets)


def _connection(kernel, module):
    module.get_connection_file = lambda app=None: kernel.connection_file


class _Later(types.ModuleType):
    """A module that is loaded with the first look at something in it: libraries ask only whether it is there."""

    def __getattr__(self, name):
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        self._load()
        return getattr(self, name)

    def __dir__(self):
        self._load()
        return dir(self)

    def _load(self):
        self.__class__ = types.ModuleType
        self.__spec__.loader.exec_module(self)


def _later(name, finder):
    spec = finder.find(name)
    module = _Later(name)
    module.__dict__.update(
        __spec__=spec,
        __loader__=spec.loader,
        __package__=name,
        __path__=spec.submodule_search_locations or [],
    )
    if spec.has_location:
        module.__file__ = spec.origin
    return module


class _AfterImport:
    """A finder that runs a function after a module of a certain name was imported, and stands in for ipykernel if it is absent."""

    def __init__(self, hooks, borrow_names):
        self._hooks = hooks
        self._borrow_names = borrow_names
        self._inside = False

    def find_spec(self, name, path=None, target=None):
        """Finds what the other finders find, and adds the hook."""
        if self._inside or not (name in self._hooks or name.startswith("ipykernel.")):
            return None
        return self.find(name)

    def find(self, name):
        """The spec of a module whose import is watched; for ipykernel and its parts, where it is absent, that of the stand-in."""
        from importlib.machinery import ModuleSpec
        from importlib.util import find_spec

        self._inside = True
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            spec = None
        finally:
            self._inside = False
        if spec is None or spec.loader is None:
            if name.partition(".")[0] != "ipykernel" or not self._borrow_names:
                return None
            from . import stand_in

            loader = stand_in.Loader() if name == "ipykernel" else stand_in.part(name)
            return loader and ModuleSpec(name, loader, is_package=name == "ipykernel")
        hook = self._hooks.get(name)
        if hook is not None:
            spec.loader = _Hooked(spec.loader, hook)
        return spec


class _Hooked:
    """A loader that runs a function after the module was executed."""

    def __init__(self, loader, hook):
        self._loader = loader
        self._hook = hook

    def create_module(self, spec):
        """As the real loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module):
        """As the real loader, then the hook."""
        module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._hook(module)
