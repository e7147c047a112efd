"""Submodules that are there without an import.

`import importlib; importlib.metadata.version("numpy")` works where somebody else has imported `importlib.metadata` before. In ipykernel's process
much has been, and notebooks rely on it without knowing. Here it is loaded at the first look, by PEP 562.
"""

import sys

# package: what ipykernel 7 has loaded when the first cell begins, and this kernel has not.
LOADED = {
    "IPython": ("terminal",),
    "IPython.core": ("completer", "completerlib", "debugger", "shellapp"),
    "IPython.utils": ("generics",),
    "concurrent": ("futures",),
    "email": (
        "charset",
        "encoders",
        "errors",
        "feedparser",
        "header",
        "iterators",
        "message",
        "parser",
        "utils",
    ),
    "encodings": ("ascii", "idna", "latin_1"),
    "html": ("entities",),
    "http": ("client", "server"),
    "importlib": ("abc", "metadata", "resources"),
    "ipykernel": (
        "comm",
        "compiler",
        "connect",
        "control",
        "debugger",
        "displayhook",
        "eventloops",
        "heartbeat",
        "iostream",
        "ipkernel",
        "jsonutil",
        "kernelapp",
        "kernelbase",
        "parentpoller",
        "shellchannel",
        "socket_pair",
        "subshell",
        "subshell_manager",
        "thread",
        "utils",
        "zmqshell",
    ),
    "packaging": ("version",),
    "tornado": ("concurrent", "escape", "gen", "ioloop", "locks", "log", "platform", "queues", "util"),
    "tornado.platform": ("asyncio",),
    "xml": ("parsers",),
    "xml.parsers": ("expat",),
    "xmlrpc": ("client", "server"),
    "zmq": ("asyncio", "eventloop"),
    "zmq.eventloop": ("zmqstream",),
}


def offer(module):
    """Lets attributes of a package lead to submodules that nobody has imported yet."""
    names = LOADED[module.__name__]
    others = module.__dict__.get("__getattr__")

    def __getattr__(name):
        if others is not None:
            try:
                return others(name)
            except AttributeError:
                if name not in names:
                    raise
        if name in names:
            from importlib import import_module

            try:
                return import_module(f"{module.__name__}.{name}")
            except ImportError:
                pass
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    __getattr__.__module__ = module.__name__
    module.__getattr__ = __getattr__


def offer_loaded():
    """The same for packages that are there already."""
    for name in LOADED:
        if name in sys.modules:
            offer(sys.modules[name])
