"""The magics that differ in a kernel from IPython in a terminal."""

import os
import sys
from pathlib import Path

from IPython.core import page
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magics import CodeMagics, ConfigMagics
from IPython.core.magics.code import MacroToEdit


def _runtime_folder():
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError:
        return None
    return jupyter_runtime_dir()


@magics_class
class KernelMagics(Magics):
    """The magics that differ in a kernel from IPython in a terminal."""

    @line_magic
    def edit(self, line="", last_call=None):
        """Opens an editor in the front end: `%edit [-n LINE] [-p] [-r] [TARGET]`, as IPython's own."""
        options, target = self.parse_options(line, "prn:")
        try:
            filename, line_number, _ = CodeMagics._find_edit_target(
                self.shell, target, options, last_call or ["", ""]
            )
        except MacroToEdit:
            print("A macro cannot be edited in a notebook.")
            return
        if filename is None:
            return  # it has been said that nothing was found
        self.shell.payload_manager.write_payload(
            {"source": "edit_magic", "filename": str(Path(filename).resolve()), "line_number": line_number}
        )

    @line_magic
    def clear(self, line):
        """Clears the terminal."""
        self.shell.system("clear")

    @line_magic
    def less(self, line):
        """Shows a file in the pager; Python is highlighted."""
        from IPython.utils import openpy

        if not line:
            raise UsageError("Missing filename.")
        if line.endswith(".py"):
            text = self.shell.pycolorize(openpy.read_py_file(line, skip_encoding_cookie=False))
        else:
            with open(line) as file:
                text = file.read()
        page.page(text)

    more = line_magic("more")(less)

    @line_magic
    def man(self, line):
        """Shows a manual page in the pager."""
        page.page(self.shell.getoutput(f"man {line} | col -b", split=False))

    @line_magic
    def connect_info(self, line):
        """Prints how another client connects to this kernel."""
        path = self.shell.kernel.connection_file
        try:
            with open(path) as file:
                info = file.read()
        except OSError as error:
            print(f"The connection file cannot be read: {error}")
            return
        name = os.path.basename(path) if os.path.dirname(path) == _runtime_folder() else path
        print(
            f"{info}\n\nPaste the above JSON into a file, and connect with:\n    $> jupyter <app> --existing <file>\n"
            f"or, if you are local, you can connect with just:\n    $> jupyter <app> --existing {name}\n"
            "or even just:\n    $> jupyter <app> --existing\nif this is the most recent Jupyter kernel you have started."
        )

    @line_magic
    def subshell(self, line):
        """Prints in which subshell this cell runs, and which there are."""
        from .subshells import describe

        print(describe(self.shell.kernel))

    @line_magic
    def qtconsole(self, line):
        """Opens a qtconsole connected to this kernel."""
        import importlib.util
        import subprocess

        if importlib.util.find_spec("qtconsole") is None:
            print("The package qtconsole is not installed.", file=sys.stderr)
            return
        command = [
            sys.executable,
            "-m",
            "qtconsole",
            "--existing",
            self.shell.kernel.connection_file,
            *line.split(),
        ]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.Popen(command, start_new_session=True, **quiet)

    @line_magic
    def autosave(self, line):
        """Sets the classic notebook's autosave interval in seconds; 0 switches it off."""
        from IPython.display import Javascript, display

        try:
            seconds = int(line)
        except ValueError as error:
            raise UsageError(f"%autosave requires an integer, got {line!r}") from error
        display(
            Javascript(f"IPython.notebook.set_autosave_interval({seconds * 1000})"),
            include=["application/javascript"],
        )
        print(f"Autosaving every {seconds} seconds" if seconds else "Autosave disabled")

    @line_magic
    def config(self, line):
        # IPython's own; what is made only when it is used is made for it
        self.shell.kernel.settle()
        _ = self.shell.Completer, self.shell.kernel.app
        return ConfigMagics.config(self, line)

    config.__doc__ = ConfigMagics.config.__doc__
