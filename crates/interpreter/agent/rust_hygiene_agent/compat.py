"""What libraries find when they look for ipykernel.

Libraries recognise a notebook by names of ipykernel's (docs/compatibility.md lists who looks for what). Where ipykernel is not
installed, small stand-ins answer for its modules; where it is, its real modules stay importable and the few that would try to
speak through a kernel that does not run are told about ours.
"""

import sys
import types

VERSION = (7, 0, 0)


def install(kernel):
    """Puts the names in place, and a hook on the import of `comm` and `ipykernel`."""
    hooks = {
        "comm": lambda module: _connect(kernel, module),
        "asyncio": lambda module: kernel.here.server.asyncio_was_imported(),
    }
    _name_shell()
    hooks["ipykernel.comm.comm"] = lambda module: _adopt(kernel, module)
    hooks["ipykernel.ipkernel"] = lambda module: _reassert(kernel)
    hooks["ipykernel.connect"] = lambda module: _connection(kernel, module)
    finder = _AfterImport(hooks)
    sys.meta_path.insert(0, finder)
    if "ipykernel" not in sys.modules:
        sys.modules["ipykernel"] = _later("ipykernel", finder)


def _connect(kernel, module):
    from .comms import connect

    connect(kernel, module)


def _name_shell():
    """Gives our classes the module name that plotly and pandas look at; the module itself appears with its first import."""
    from . import shell

    for cls in (shell.ZMQInteractiveShell, shell.ZMQDisplayPublisher, shell.KernelMagics):
        cls.__module__ = "ipykernel.zmqshell"
    shell.ZMQShellDisplayHook.__module__ = "ipykernel.displayhook"
    _stand_in(
        "ipykernel.zmqshell",
        ZMQInteractiveShell=shell.ZMQInteractiveShell,
        ZMQDisplayPublisher=shell.ZMQDisplayPublisher,
    )
    _stand_in("ipykernel.displayhook", ZMQShellDisplayHook=shell.ZMQShellDisplayHook)


def _stand_in(name, **names):
    module = types.ModuleType(name, "A stand-in by Rust-Hygiene Python.")
    module.__dict__.update(names)
    sys.modules[name] = module
    return module


def _adopt(kernel, module):
    """ipykernel's own Comm drops messages unless ipykernel runs; ours are sent."""
    from .comms import note_user

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        content = {"data": {} if data is None else data, "comm_id": self.comm_id, **keys}
        note_user(kernel, self, data)
        kernel.publish(msg_type, content, metadata=metadata, buffers=buffers)

    module.BaseComm.publish_msg = publish_msg


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
        if name.startswith("__"):
            raise AttributeError(name)
        spec = self.__spec__
        self.__class__ = types.ModuleType
        spec.loader.exec_module(self)
        return getattr(self, name)


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

    def __init__(self, hooks):
        self._hooks = hooks
        self._inside = False

    def find_spec(self, name, path=None, target=None):
        """Finds what the other finders find, and adds the hook."""
        if self._inside or name not in self._hooks:
            return None
        return self.find(name)

    def find(self, name):
        """The spec of a module whose import is watched; for ipykernel, where it is absent, that of the stand-in."""
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
            if name != "ipykernel":
                return None
            from . import stand_in

            return ModuleSpec(name, stand_in.Loader(), is_package=True)
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
