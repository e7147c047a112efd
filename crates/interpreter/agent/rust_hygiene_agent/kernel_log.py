"""The kernel's own log: it is for whoever started the kernel, not for the notebook."""

import logging
import os


class Console(logging.Handler):
    """Writes to the standard error of the front."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self._console = f"/proc/{os.getppid()}/fd/2"
        self.setFormatter(logging.Formatter("[%(name)s] %(levelname)s | %(message)s"))

    def emit(self, record):
        """Writes one record, if anybody can be told."""
        try:
            text = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            fd = os.open(self._console, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return
        except Exception:
            self.handleError(record)
            return
        try:
            os.write(fd, text)
        except OSError:
            pass
        finally:
            os.close(fd)


def kernel_log():
    """The log, under the name that ipykernel's has; libraries that ask traitlets for a log are given it too.

    What fails within the agent is told there as well, and not in the cell that happens to be the last one.
    """
    log, own, console = logging.getLogger("IPKernelApp"), logging.getLogger("rust_hygiene"), Console()
    log.setLevel(logging.DEBUG)
    own.setLevel(logging.WARNING)
    for one in (log, own):
        one.propagate = False
        one.addHandler(console)
    from traitlets import log as traitlets_log

    for name in ("_logger", "_fallback"):  # of older and of newer versions
        if hasattr(traitlets_log, name):
            setattr(traitlets_log, name, log)
    return log
