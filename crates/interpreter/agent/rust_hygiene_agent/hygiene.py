"""The magic `%hygiene`."""

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

HELP = """%hygiene leaks   show every finding that still holds, each with the line that frees its memory
%hygiene help    show this"""


@magics_class
class HygieneMagics(Magics):
    """What the kernel tells about memory when asked."""

    @line_magic
    def hygiene(self, line):
        """`%hygiene leaks` shows what memory is kept by accident; `%hygiene help` shows all commands."""
        command = line.strip() or "help"
        if command == "leaks":
            kernel = self.shell.kernel
            if kernel.here is not kernel:
                raise UsageError(
                    "%hygiene leaks answers in the main shell only: cells of subshells are not measured."
                )
            self.shell.kernel.ask("findings")
        elif command == "help":
            print(HELP)
        else:
            raise UsageError(f"%hygiene does not know {command!r}.\n{HELP}")
