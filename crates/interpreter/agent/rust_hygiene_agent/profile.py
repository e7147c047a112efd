"""Whether the user has configured anything, and the start where nobody has."""

import os
import sys


def is_configured(ipython_dir, arguments):
    """True if there is anything for IPython's application to load: arguments, configuration or start-up files."""
    if arguments or os.environ.get("PYTHONSTARTUP"):
        return True
    profile = os.path.join(ipython_dir, "profile_default")
    for folder in (
        profile,
        os.path.join(sys.prefix, "etc", "ipython"),
        "/usr/local/etc/ipython",
        "/etc/ipython",
    ):
        if any(name.startswith(("ipython_config.", "ipython_kernel_config.")) for name in _names(folder)):
            return True
        if any(name.endswith((".py", ".ipy")) for name in _names(os.path.join(folder, "startup"))):
            return True
    return False


def _names(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return ()


def add_working_directory():
    """Puts the working directory on `sys.path`, after the standard library: a file beside the notebook must not hide a module of it."""
    if getattr(sys.flags, "safe_path", False) or "" in sys.path:
        return
    libraries = [
        at for at, path in enumerate(sys.path) if os.path.basename(path) in ("site-packages", "dist-packages")
    ]
    sys.path.insert(libraries[0] if libraries else 0, "")
