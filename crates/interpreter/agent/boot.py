"""Runs as `python -c`: makes the agent's modules importable from a pipe, then starts it.

The bundle on the pipe is JSON `{"hash": …, "sources": {module path: text}, "config": {…}}`. No file of ours has to exist in
the interpreter's environment, and the agent can never be of another version than the front. Compiled code is kept in the
user's cache folder, as Python keeps its own in `__pycache__`: compiling the agent anew would cost a quarter of the start.
"""

import os
import sys

if sys.path[:1] == [""]:
    del sys.path[0]  # until the shell is made: see main.py


def _is_there(package):
    """Whether it can be imported, without importing anything."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(package, None)
        except Exception:
            return False
        if spec is not None:
            return spec.loader is not None
    return False


def _hello():
    """The first frame on the channel: who speaks. The front answers clients with it while the rest is still loading."""
    clean = {ord(c): " " for c in '"\\\n\r\t'}
    version = sys.version.translate(clean)
    debugger = "true" if _is_there("debugpy") else "false"
    text = f'{{"op":"hello","python":"{version}","version":"{version.split()[0]}","debugger":{debugger}}}'.encode(
        "ascii", "replace"
    )
    os.write(3, b"\xff\x52\x48\xfe" + b"\1\0\0\0" + len(text).to_bytes(8, "little") + text)


_hello()

import marshal


def _boot():
    import json
    from importlib.machinery import ModuleSpec

    with os.fdopen(int(sys.argv[1]), "rb") as pipe:
        bundle = json.loads(pipe.read())
    sources = bundle["sources"]
    folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "rust-hygiene")
    cache = os.path.join(folder, f"agent-{bundle['hash']}.{sys.implementation.cache_tag}")
    compiled = {}
    try:
        with open(cache, "rb") as file:
            if os.fstat(file.fileno()).st_uid == os.getuid():
                compiled = marshal.loads(file.read())
    except Exception:  # absent, unreadable or cut short: compile
        pass

    def code_of(path):
        code = compiled.get(path) if isinstance(compiled, dict) else None
        return code or compile(sources[path], "<rust-hygiene>/" + path, "exec")

    class Finder:
        """Finds and loads the agent's modules."""

        rust_hygiene = {"hash": bundle["hash"], "sources": sources}

        @staticmethod
        def find_spec(name, path=None, target=None):
            for place, package in (
                (name.replace(".", "/") + ".py", False),
                (name.replace(".", "/") + "/__init__.py", True),
            ):
                if place in sources:
                    spec = ModuleSpec(name, Finder, origin="<rust-hygiene>/" + place, is_package=package)
                    spec.has_location = True
                    return spec
            return None

        @staticmethod
        def create_module(spec):
            return None

        @staticmethod
        def exec_module(module):
            exec(code_of(module.__spec__.origin[len("<rust-hygiene>/") :]), module.__dict__)

        @staticmethod
        def get_source(name):
            spec = Finder.find_spec(name)
            return spec and sources[spec.origin[len("<rust-hygiene>/") :]]

    def keep_compiled():
        """Writes the compiled modules for the next start; called when the interpreter is idle."""
        if compiled:
            return
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            draft = f"{cache}.{os.getpid()}"
            with open(draft, "wb") as file:
                file.write(marshal.dumps({path: code_of(path) for path in sources}))
            os.replace(draft, cache)
            for name in os.listdir(folder):
                other = os.path.join(folder, name)
                if (
                    name.startswith("agent-")
                    and other != cache
                    and name.endswith(sys.implementation.cache_tag)
                ):
                    os.unlink(other)
        except OSError:
            pass  # a read-only home: the next start compiles again

    sys.meta_path.insert(0, Finder)
    from rust_hygiene_agent import main

    main.run(bundle["config"], keep_compiled)


_boot()
