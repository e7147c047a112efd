"""`%%isolate`: a cell in a disposable copy of the interpreter. What it took goes with the copy; named results come back.

The copy is a fork, or with `--fresh` another interpreter with the names that the cell uses. It speaks with this process as the
agent does with the front: outputs are passed on, and what the cell ended with is shown here. Results come as in a rebirth, through
files in memory, and nothing is bound before all of them are there.
"""

import ast
import fcntl
import json
import os
import select
import signal
import socket
import sys
import types
import warnings

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class

from . import copy_end, rebirth
from .carrying import load
from .foresight import status
from .frames import ChannelClosed, Frames, dumps
from .guard import human
from .replies import error_of, text_of

MAGIC = "isolate"
FRESH = "--fresh"
_LISTED = 3
_NO_FRONT = "a copy of the interpreter has no answer to this: ask below, in a cell of its own"


@magics_class
class IsolateMagics(Magics):
    """Cells in a disposable copy of the interpreter."""

    @cell_magic
    def isolate(self, line, cell):
        """Runs the cell in a disposable copy of the interpreter: `%%isolate [NAME…] [--fresh]`.

        The values of the names come back, everything else goes with the copy: its memory, and all that the cell has changed.
        The copy is a fork. With `--fresh` it is a new interpreter with the names that the cell uses: for CUDA, and where threads
        of the program may hold locks.
        """
        kernel = self.shell.kernel
        if kernel.here is not kernel:
            raise UsageError(f"%%{MAGIC} works in the main shell only.")
        words = line.split()
        names = [word for word in words if word != FRESH]
        for name in names:
            if not name.isidentifier():
                raise UsageError(f"{name!r} is no name: %%{MAGIC} [NAME…] [{FRESH}]")
        fds = [os.memfd_create("results"), os.memfd_create("arrays")]
        try:
            copy = (_Fresh if FRESH in words else _Fork)(self.shell, cell, names, fds)
            said = copy.attend()
            for unwritten in said.get("unwritten", ()):
                print(f"%%{MAGIC}: not written: {unwritten}", file=sys.stderr)
            if copy.error is not None:
                raise _as_it_was(copy.error)
            if said.get("cannot"):
                lines = "\n".join(f"  {name}: {why}" for name, why in said["cannot"].items())
                raise UsageError(f"Nothing has changed. These cannot be brought back:\n{lines}")
            _bring_back(self.shell, names, fds)
            print(_report(names, fds, said.get("peak"), FRESH in words))
        finally:
            for fd in fds:
                os.close(fd)


def _as_it_was(told):
    """An exception that is shown as the one in the copy was."""
    base = KeyboardInterrupt if told["ename"] == "KeyboardInterrupt" else Exception
    error = type(told["ename"], (base,), {"__module__": "__main__"})(told["evalue"])
    error._render_traceback_ = lambda: told["traceback"]  # IPython asks for it
    return error


def _bring_back(shell, names, fds):
    if not names:
        return
    try:
        values = load(*(f"/proc/self/fd/{fd}" for fd in fds))
    except Exception as error:
        raise UsageError(
            f"Nothing has changed. The results cannot be read: {type(error).__name__}: {text_of(error)}"
        ) from None
    shell.user_ns.update(values)


def _report(names, fds, peak, fresh):
    came = f"{', '.join(names)} came back ({human(sum(os.fstat(fd).st_size for fd in fds))})"
    took = "" if peak is None else f" took {human(peak)}{'' if fresh else ' more'} at its peak, and"
    return f"Isolated: {came if names else 'nothing was to come back'}; the copy{took} is gone."


class _Copy:
    """The copy, seen from here."""

    def __init__(self, shell, names, fds):
        self._shell, self._kernel, self._names = shell, shell.kernel, names
        self.error = None  # what the cell ended with
        self._said = None  # its last words
        self._pid = self._link = None
        self._fds = fds
        self._passed = None  # a byte goes there for each output that was passed on
        self._frames = []  # one that was read and not yet taken, if an interrupt came between

    def attend(self):
        """Passes on what comes until the cell is over; then the copy is gone."""
        interrupts = 0
        try:
            while self._said is None:
                try:
                    if not self._frames:
                        self._wait()
                        self._kernel.channel.guarded(lambda: self._frames.append(self._link.frame()))
                    envelope, sections = self._frames.pop()
                    getattr(self, "_on_" + envelope["op"], self._ignore)(envelope, sections)
                except KeyboardInterrupt:
                    # It has got the signal too, and says what came of that; unless it does not hear.
                    interrupts += 1
                    if interrupts > 1:
                        raise
            return self._said
        except ChannelClosed:
            raise RuntimeError(self._fate()) from None
        finally:
            self._end()

    def _wait(self):
        if not self._link.has_pending:
            poll = select.poll()
            poll.register(self._link.socket.fileno(), select.POLLIN)
            poll.poll()

    def _ignore(self, envelope, sections):
        pass

    def _on_publish(self, envelope, sections):
        parent, metadata, content, *buffers = sections
        if envelope["type"] == "error":
            self.error = json.loads(bytes(content))
        else:
            self._kernel.send_raw(envelope["type"], parent, metadata, content, buffers)
        try:
            os.write(self._passed, b".")
        except OSError:
            pass  # it is dead, as the next look will show

    def _on_sync(self, envelope, sections):
        self._kernel.channel.settle()

    def _on_input_request(self, envelope, sections):
        asked = json.loads(bytes(sections[0]))
        try:
            value = self._kernel._input_request(asked["prompt"], asked["password"])
        except EOFError:
            value = "\x04"
        self._link.send({"op": "input_reply"}, dumps({"value": value}))

    def _on_ask(self, envelope, sections):
        self._link.send({"op": "told"}, _NO_FRONT.encode())

    def _on_do(self, envelope, sections):
        self._link.send({"op": "told"}, dumps({"error": _NO_FRONT}))

    def _on_done(self, envelope, sections):
        self._said = json.loads(bytes(sections[0]))
        failed = self._said.get("failed")
        if failed and self.error is None:
            self.error = {"ename": failed[0], "evalue": failed[1], "traceback": []}

    def _fate(self):
        """What became of a copy that is not heard any more."""
        _, status = os.waitpid(self._pid, 0)
        self._pid = None
        code = os.waitstatus_to_exitcode(status)
        how = f"ended with exit code {code}"
        if code < 0:
            try:
                how = f"was ended by signal {-code} ({signal.Signals(-code).name})"
            except ValueError:
                how = f"was ended by signal {-code}"
        return f"The copy that ran the cell {how}. Nothing has changed."

    def _end(self):
        if self._pid is not None:
            # Whole: an interrupt in its midst would leave a copy that stands still for ever.
            self._kernel.channel.guarded(lambda: copy_end.end(self._pid))
        if self._link is not None:
            self._link.socket.close()
        if self._passed is not None:
            os.close(self._passed)


class _Link(Frames):
    """The other end of a copy's channel."""

    def __init__(self, connected):
        super().__init__(connected.detach())

    def send(self, envelope, *sections):
        """Sends one frame."""
        self._write([dumps(envelope), *sections])


class _Fork(_Copy):
    """A copy that shares its memory with this process until one of both writes to it."""

    def __init__(self, shell, cell, names, fds):
        super().__init__(shell, names, fds)
        for warning in _dangers(self._kernel):
            print(f"%%{MAGIC}: {warning} {FRESH} starts a new interpreter instead.", file=sys.stderr)
        ours, theirs = socket.socketpair()
        passes, self._passed = os.pipe()
        self._kernel.channel.settle()  # text that is still here would be printed twice
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads; the program's have been named
            self._pid = os.fork()
        if not self._pid:
            ours.close()
            os.close(self._passed)
            _be_the_copy(shell, (theirs, passes), cell, names, fds)
        theirs.close()
        os.close(passes)
        self._link = _Link(ours)


def _dangers(kernel):
    """What may go wrong in a fork of this process."""
    threads = kernel.threads_of_the_program()
    if threads:
        names = ", ".join(thread.name for thread in threads[:_LISTED])
        yield f"the copy has none of the {len(threads)} threads of the program ({names}), and locks that they hold stay locked."
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized():
        yield "CUDA is in use here, and cannot be used in a fork."


def _be_the_copy(shell, connected, cell, names, fds):
    """In the fork: runs the cell, says what came of it, and ends."""
    try:
        kernel = shell.kernel
        kernel.channel.adopt(*connected)
        if "asyncio" in sys.modules:
            sys.modules["asyncio"]._set_running_loop(None)  # the loop is the other's
        copy_end.begin(is_fork=True)
        known, rss = rebirth.named(shell.user_ns), _reset_peak()
        result = shell.run_cell(cell, store_history=False)
        said = _results(shell, names, fds, known, error_of(result))
        said["peak"] = None if rss is None else max(0, status("VmHWM") - rss)
        said["unwritten"] = copy_end.write_out()
        kernel.channel.send({"op": "done"}, dumps(said))
        copy_end.await_end(kernel.channel)
    except BaseException as error:
        copy_end.write_out()
        os.write(2, f"The copy failed: {type(error).__name__}: {text_of(error)}\n".encode())
    finally:
        os._exit(0)


def _results(shell, names, fds, known, error):
    """What is said at the end: the values are in the files, or why they are not."""
    if error is not None:
        return {"failed": [type(error).__name__, text_of(error)]}
    cannot = rebirth.refusals(shell, names, known)
    if not cannot:
        rebirth.carry(shell, names, fds, known)
    return {"cannot": cannot}


def bring(kernel, envelope):
    """The answer of a new interpreter that has run the cell to the question for the results."""
    said = _results(kernel.shell, envelope["names"], envelope["fds"], rebirth.lent, None)
    said["peak"] = status("VmHWM")
    said["unwritten"] = copy_end.write_out()
    kernel.channel.send({"op": "done"}, dumps(said))


def _reset_peak():
    """Resident bytes, from which on the system notes the highest; None if it does not."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return status("VmRSS")
    except OSError:
        return None


class _Fresh(_Copy):
    """A new interpreter, with the same imports and the names that the cell uses."""

    # Numbers of descriptors in it; those of the agent are as in the front (spawn.rs).
    _CHANNEL, _BUNDLE, _DOOR, _DEBUG, _FAULTS, _BOARD, _SEGMENTS, _RESULTS, _ARRAYS, _PASSED = range(3, 13)
    _FORKS = 13  # the front's door, for forked children

    def __init__(self, shell, cell, names, fds):
        super().__init__(shell, names, fds)
        self._cell, self._others = cell, []
        used = _used(shell, cell)
        cannot = rebirth.refusals(shell, used, is_lent=True)
        if cannot:
            lines = "\n".join(f"  {name}: {why}" for name, why in cannot.items())
            raise UsageError(
                f"Nothing was run. The cell uses names that cannot be carried into a new interpreter:\n{lines}"
            )
        self._carried, _ = rebirth.carry(shell, used, is_lent=True)
        try:
            self._start(used)
        except BaseException:
            self._end()
            raise

    def _start(self, used):
        bundle = os.memfd_create("bundle")
        passes, self._passed = os.pipe()
        pairs = [socket.socketpair() for _ in range(3)]
        self._others = [pair[0] for pair in pairs[1:]]  # closed with the copy: nobody speaks there
        given = {
            **self._kernel.given,
            "facts": False,
            "guard": False,
            "passed_fd": self._PASSED,
            "forks_fd": self._FORKS,
            "restarted": self._shell.execution_count,
            "restore": rebirth.payload(self._shell, used, self._carried, is_lent=True),
        }
        copies = []
        try:
            with open(bundle, "wb", closefd=False) as file:
                file.write(json.dumps({**_agent(), "config": given}).encode())
            os.lseek(bundle, 0, os.SEEK_SET)
            wanted = {
                self._CHANNEL: pairs[0][1].fileno(),
                self._BUNDLE: bundle,
                self._DOOR: pairs[1][1].fileno(),
                self._DEBUG: pairs[2][1].fileno(),
                self._FAULTS: given["faults_fd"],
                self._BOARD: given["board_fd"],
                self._SEGMENTS: given["segments_fd"],
                self._RESULTS: self._fds[0],
                self._ARRAYS: self._fds[1],
                self._PASSED: passes,
                self._FORKS: self._kernel.given.get("forks_fd", self._kernel.given["door_fd"]),
            }
            actions = []
            for number, fd in wanted.items():
                copies.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(wanted) + 1))
                actions.append((os.POSIX_SPAWN_DUP2, copies[-1], number))
            # The begin of the agent is what this process was started with.
            command = [sys.executable, "-c", sys.orig_argv[2], str(self._BUNDLE)]
            self._kernel.channel.settle()
            self._pid = os.posix_spawn(
                sys.executable,
                command,
                os.environ,
                file_actions=actions,
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        finally:
            for fd in (bundle, passes, *copies):
                os.close(fd)
            for pair in pairs:
                pair[1].close()
        self._link = _Link(pairs[0][0])

    def _on_no_ipython(self, envelope, sections):
        raise UsageError("Nothing was run: the new interpreter has no IPython.")

    def _on_restored(self, envelope, sections):
        error = json.loads(bytes(sections[0])).get("error")
        if error:
            raise UsageError(f"Nothing was run: {error}")

    def _on_ready(self, envelope, sections):
        parent = self._shell.get_parent()
        content = {
            "code": self._cell,
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": self._kernel._allow_stdin,
            "stop_on_error": True,
        }
        self._link.send(
            {"op": "request", "id": 1, "type": "execute_request"},
            dumps(parent.get("header", {})),
            b"{}",
            b"{}",
            dumps(content),
        )

    def _on_reply(self, envelope, sections):
        reply = json.loads(bytes(sections[1]))
        names = self._names
        if reply["status"] != "ok":
            self.error = self.error or reply
            names = []
        # An error too has an end: files that the cell has written to.
        self._link.send({"op": "bring", "names": names, "fds": [self._RESULTS, self._ARRAYS]})

    def _end(self):
        super()._end()
        for one in self._others:
            one.close()
        for fd in self._carried:
            os.close(fd)


def _agent():
    """The agent's sources, as they came from the front."""
    finder = next(finder for finder in sys.meta_path if hasattr(finder, "rust_hygiene"))
    return finder.rust_hygiene


def _used(shell, cell):
    """The user's names that the cell mentions, itself or by way of functions and classes of the notebook."""
    users = set(rebirth.user_names(shell, shell.kernel.facts))
    try:
        waiting = [
            node.id for node in ast.walk(ast.parse(shell.transform_cell(cell))) if type(node) is ast.Name
        ]
    except SyntaxError:
        waiting = cell.split()  # it will say so itself
    found = {}
    while waiting:
        name = waiting.pop()
        if name in users and name not in found:
            found[name] = None
            waiting += _mentioned(shell.user_ns[name])
    return list(found)


def _mentioned(value):
    """Names of globals in the code of a function or a class."""
    if issubclass(type(value), type):
        values = [one for one in type.__getattribute__(value, "__dict__").values()]
        bases = [base.__name__ for base in value.__mro__]
    else:
        values, bases = [value], []
    values = [
        getattr(one, "__func__", one) if type(one) in (staticmethod, classmethod) else one for one in values
    ]
    codes = [one.__code__ for one in values if type(one) is types.FunctionType]
    names = bases
    while codes:
        code = codes.pop()
        names += code.co_names
        codes += [one for one in code.co_consts if type(one) is types.CodeType]
    return names


def completions(shell, before):
    """The words that may take the place of the last one in `before`, the line up to the cursor; none if it is not ours."""
    if not before.startswith(f"%%{MAGIC} "):
        return []
    words = before.split()[1:]
    last = "" if before[-1].isspace() else words.pop()
    known = [FRESH, *rebirth.user_names(shell, shell.kernel.facts)]
    return [word for word in known if word.startswith(last) and word not in words]
