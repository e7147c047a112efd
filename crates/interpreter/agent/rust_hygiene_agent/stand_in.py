"""A stand-in for the package `ipykernel` where it is not installed: the names that libraries are known to import."""

import sys
import types


class Loader:
    """Makes the package and its submodules."""

    def create_module(self, spec):
        """The default."""
        return None

    def exec_module(self, module):
        """Fills the package."""
        from .compat import VERSION

        module.__path__ = []
        module.version_info = VERSION
        module.__version__ = ".".join(map(str, VERSION))
        module.kernel_protocol_version = "5.5"
        module.kernel_protocol_version_info = (5, 5)
        module.get_connection_file = get_connection_file
        module.zmqshell = sys.modules["ipykernel.zmqshell"]
        _submodule(
            module,
            "connect",
            get_connection_file=get_connection_file,
            get_connection_info=get_connection_info,
        )
        from . import application, kernel, streams

        application.IPKernelApp.instance = classmethod(lambda cls, *args, **kwargs: _kernel().app)
        application.IPKernelApp.initialized = classmethod(lambda cls: True)
        _submodule(module, "kernelapp", IPKernelApp=application.IPKernelApp)
        _submodule(module, "kernelbase", Kernel=kernel.IPythonKernel)
        _submodule(module, "ipkernel", IPythonKernel=kernel.IPythonKernel)
        _submodule(module, "iostream", OutStream=streams.OutStream)
        try:
            import comm
        except ImportError:
            return
        _submodule(module, "comm", Comm=_Comm(comm), CommManager=comm.base_comm.CommManager)


class Part:
    """Finds a submodule where the package has put it."""

    def __init__(self, module):
        self._module = module

    def create_module(self, spec):
        """The submodule."""
        return self._module

    def exec_module(self, module):
        """It is filled already."""


def part(name):
    """The loader of a submodule, or None if there is none of this name."""
    package = sys.modules["ipykernel"]
    getattr(package, "version_info", None)  # fills it, if it was only named so far
    module = getattr(package, name.partition(".")[2], None)
    return Part(module) if isinstance(module, types.ModuleType) else None


def _submodule(package, name, **names):
    module = types.ModuleType(f"{package.__name__}.{name}", "A stand-in by Rust-Hygiene Python.")
    module.__dict__.update(names)
    sys.modules[module.__name__] = module
    setattr(package, name, module)


def _kernel():
    from IPython import get_ipython

    return get_ipython().kernel


def get_connection_file(app=None):
    """Path of the running kernel's connection file."""
    return _kernel().connection_file


def get_connection_info(connection_file=None, unpack=False):
    """The connection file's text, or a dictionary of it."""
    import json

    with open(connection_file or get_connection_file()) as file:
        text = file.read()
    return json.loads(text) if unpack else text


def _Comm(comm):
    """`ipykernel.comm.Comm`: a function that makes a comm, with the old order of parameters."""

    def Comm(target_name="", data=None, metadata=None, buffers=None, **keys):
        keys.pop("show_warning", None)
        keys.pop("kernel", None)
        return comm.create_comm(
            target_name=target_name or "comm", data=data, metadata=metadata, buffers=buffers, **keys
        )

    return Comm
