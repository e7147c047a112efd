"""Points a suite at a kernel without changing the suite: a kernelspec `python3` that starts it, before all others.

The spec's program notes each start and becomes the kernel, with the same process id; a suite that started no kernel through it has
tested something else.
"""

import json
import os
import stat
from pathlib import Path

_LAUNCHER = """#!/bin/sh
echo "$$" >> "{log}"
exec "$@"
"""


def make(kernelspec, folder):
    """Writes the spec below `folder`, from the file of the kernel's own; returns the file of starts."""
    spec = json.loads(Path(kernelspec).read_text())
    place = folder / "kernels" / "python3"
    place.mkdir(parents=True)
    log = folder / "starts"
    log.touch()
    launcher = place / "launch.sh"
    launcher.write_text(_LAUNCHER.format(log=log))
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    spec["argv"] = [str(launcher), *spec["argv"]]
    (place / "kernel.json").write_text(json.dumps(spec))
    return log


def environment(venv, folder, shadow):
    """Variables of a run: private folders, the suite's environment first on PATH, and the shadow."""
    foreign = ("JUPYTER_", "IPYTHON", "JPY_", "PYDEVD_", "COLUMNS", "RUST_HYGIENE_", "PYTEST_", "PYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    places = {
        "HOME": "home",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
    }
    for name, place in places.items():
        (folder / place).mkdir(parents=True)
        env[name] = str(folder / place)
    return {
        **env,
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
        "PATH": os.pathsep.join([str(venv / "bin"), env.get("PATH", "")]),
        "VIRTUAL_ENV": str(venv),
        "JUPYTER_PATH": str(shadow),
        "PYTHONPATH": str(Path(__file__).parent / "plugin"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
    }
