"""The user's IPython profile: configuration files, extensions and start-up files."""

import os


def load_config(ipython_dir, arguments):
    """Traitlets configuration of the default profile, then of the command line (`--Class.trait=value`)."""
    from traitlets.config import Config

    config = Config()
    folder = os.path.join(ipython_dir, "profile_default")
    for name in ("ipython_config.py", "ipython_kernel_config.py"):
        if os.path.isfile(os.path.join(folder, name)):
            from traitlets.config.loader import PyFileConfigLoader

            config.merge(PyFileConfigLoader(name, path=folder).load_config())
    for argument in arguments:
        # `--Class.trait=value`; anything else is for ipykernel's own application and means nothing here
        name, equals, value = argument.lstrip("-").partition("=")
        cls, dot, trait = name.partition(".")
        if argument.startswith("--") and equals and dot and cls.isidentifier() and trait.isidentifier():
            from traitlets.config.loader import DeferredConfigString

            config[cls][trait] = DeferredConfigString(value)
    return config


def run_startup(shell, config):
    """Extensions, then `exec_lines` and `exec_files`, then the files of the profile's `startup` folder."""
    app = config.InteractiveShellApp
    for extension in list(app.get("extensions", ())) + list(app.get("extra_extensions", ())):
        try:
            shell.extension_manager.load_extension(extension)
        except Exception:
            shell.showtraceback()
    for line in app.get("exec_lines", ()):
        shell.run_cell(line, store_history=False)
    files = (
        [os.environ["PYTHONSTARTUP"]]
        if app.get("exec_PYTHONSTARTUP", True) and os.environ.get("PYTHONSTARTUP")
        else []
    )
    folder = os.path.join(shell.profile_dir.location, "startup")
    if os.path.isdir(folder):
        names = sorted(name for name in os.listdir(folder) if name.endswith((".py", ".ipy")))
        files += [os.path.join(folder, name) for name in names]
    for path in files + list(app.get("exec_files", ())):
        if path.endswith(".ipy"):
            shell.safe_execfile_ipy(path, shell_futures=True)
        else:
            shell.safe_execfile(path, shell.user_ns, shell_futures=True)
