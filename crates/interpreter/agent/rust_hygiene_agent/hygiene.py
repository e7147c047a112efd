"""The magic `%hygiene`: what the kernel tells about memory when asked.

A command is a line of `COMMANDS`. Most only ask the front, which knows the answer and publishes it. Above a cell, as
`%%hygiene why`, a command waits for the cell's end: the line is taken out before IPython reads the cell, so that the rest runs
as it would without it.
"""

import threading
from collections import namedtuple

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

MAGIC = "hygiene"


class Command(
    namedtuple("Command", "name arguments summary run complete above", defaults=(lambda shell: (), False))
):
    """One command.

    `name` ends in `=` if the command is a setting such as `cap=4GiB`. `arguments` is how they are written, one word each.
    `run(shell, words, afterwards)` does it; `complete(shell)` gives the words that its argument may be. `above` tells that it
    makes sense above a cell: then `afterwards` is true, and it is to be about the cell below.
    """

    __slots__ = ()

    @property
    def takes_many(self):
        """Whether there may be any number of words."""
        return "…" in self.arguments

    def check(self, words):
        """Refuses too many words."""
        if self.takes_many:
            return
        takes = len(self.arguments.split())
        if len(words) > takes:
            usage = f"%{MAGIC} {self.name} {self.arguments}".strip()
            raise UsageError(f"{' '.join(words[takes:])!r} is one word too many: {usage}")


def asks(what, know=None):
    """A `run` that has the front publish `what`; `know(shell)` finds out what only we can."""

    def run(shell, words, afterwards):
        here = shell.kernel.here
        if threading.get_ident() != here.thread.ident:
            raise UsageError(f"%{MAGIC} answers in a cell, not in a thread that a cell has started.")
        if afterwards and here is not shell.kernel:
            raise UsageError(f"%%{MAGIC} has no answer here: cells of subshells are not measured.")
        known = None if know is None or afterwards else know(shell)
        error = here.ask(what, words, afterwards, known)
        if error:
            raise UsageError(error)

    return run


def orders(what, *always):
    """A `run` that has the front do `what`, and prints what it tells."""

    def run(shell, words, afterwards):
        kernel = shell.kernel
        if kernel.here is not kernel:
            raise UsageError(f"%{MAGIC} {what} works in the main shell only.")
        print(kernel.order(what, [*always, *words]))

    return run


def _rebirth(shell, words, afterwards):
    from .rebirth import be_reborn

    be_reborn(shell, words, afterwards)


def _steps(shell):
    return [*shell.kernel.cleaner.names, "--dry-run"]


def _policy_words(shell):
    return ["show", "explain", "set", "observe", "suggest", "tidy", "strict", "custom"]


def _holdings(shell):
    from .holdings import BUDGET_S, holdings
    from .unseen import unseen

    return unseen(holdings, shell, BUDGET_S) if shell.kernel.facts is not None else None


def _numbers(shell):
    last = shell.execution_count - 1
    return [str(number) for number in range(last, max(0, last - 10), -1)]


def _help(shell, words, afterwards):
    if not words:
        print(overview(shell))
    elif words[0] in COMMANDS:
        print(_line(COMMANDS[words[0]]))
    elif words[0] in shell.kernel.causes:
        _show_page(shell, words, afterwards)
    else:
        raise unknown(words[0], _topics(shell))


def _topics(shell):
    return [*COMMANDS, *shell.kernel.causes]


_show_page = asks("page")

COMMANDS = {
    command.name: command
    for command in (
        Command(
            "why",
            "[CELL]",
            "the last cell, or cell number CELL, explained at length",
            asks("why"),
            _numbers,
            True,
        ),
        Command(
            "vars",
            "",
            "the largest variables: what each holds alone, and who else holds the rest",
            asks("variables", _holdings),
            above=True,
        ),
        Command(
            "ledger",
            "",
            "the whole session: by owner, by allocator, cell by cell",
            asks("account"),
            above=True,
        ),
        Command(
            "leaks",
            "",
            "every finding that still holds, each with the line that frees its memory",
            asks("findings"),
            above=True,
        ),
        Command(
            "clean",
            "[STEP…] [--dry-run]",
            "give memory back now: what the policy would do, or the steps that are named",
            orders("clean"),
            _steps,
        ),
        Command(
            "policy",
            "[show | explain | set NAME | set KEY=VALUE…]",
            "which steps run by themselves; what would run now, and why; another policy for this session",
            orders("policy"),
            _policy_words,
        ),
        Command(
            "cap=", "SIZE", "what the cell below may take the session's memory to", asks("cap"), above=True
        ),
        Command(
            "rebirth",
            "[NAME…] [--dry-run]",
            "a fresh interpreter with these variables, or all: gives back what nothing else can",
            _rebirth,
            lambda shell: [*list(shell.user_ns), "--dry-run"],
        ),
        Command("help", "[TOPIC]", "this, or a page about one command or cause", _help, _topics),
    )
}


def _line(command):
    sign = "%%" if command.name.endswith("=") else "%"
    usage = f"{sign}{MAGIC} {command.name}{'' if command.name.endswith('=') else ' '}{command.arguments}"
    return f"{usage:<24} {command.summary}"


def overview(shell):
    """What `%hygiene help` prints."""
    lines = [_line(command) for command in COMMANDS.values()]
    above = [name for name, command in COMMANDS.items() if command.above and not name.endswith("=")]
    lines.append(f"Above a cell, %%{MAGIC} {' | '.join(above)} runs the cell and answers at its end.")
    lines.append(
        "%%isolate [NAME…] [--fresh] runs the cell below in a disposable copy, and brings the names back."
    )
    lines.append(f"Causes of kept memory, for %{MAGIC} help: {', '.join(shell.kernel.causes)}.")
    return "\n".join(lines)


def unknown(word, known):
    """The error for a word that is none of the `known` ones."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, 1, 0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"%{MAGIC} does not know {word!r}.{guess} It knows: {', '.join(known)}.")


def parse(line):
    """The commands of a line with their words: any number of settings, then at most one other command."""
    words = line.split()
    found = []
    while words and "=" in words[0].lstrip("="):
        name, _, value = words.pop(0).partition("=")
        found.append((_find(f"{name}="), [value]))
    if words:
        command = _find(words[0])
        command.check(words[1:])
        found.append((command, words[1:]))
    return found


def _find(word):
    command = COMMANDS.get(word)
    if command is None:
        raise unknown(word, COMMANDS)
    return command


@magics_class
class HygieneMagics(Magics):
    """What the kernel tells about memory when asked."""

    @line_cell_magic
    def hygiene(self, line="", cell=None):
        """Tells where memory went: `%hygiene help` shows all commands. Above a cell, `%%hygiene` is about that cell."""
        commands = parse(line) or [(COMMANDS["help" if cell is None else "why"], [])]
        if cell is None:
            for command, words in commands:
                if command.name.endswith("="):
                    raise UsageError(f"{command.name} stands above a cell: %%{MAGIC} {line.strip()}")
                command.run(self.shell, words, False)
            return
        for command, _ in commands:
            if not command.above:
                raise UsageError(
                    f"%%{MAGIC} {command.name} makes no sense above a cell: write %{MAGIC} {command.name}"
                )
        for command, words in commands:
            command.run(self.shell, words, True)
        if cell.strip():  # it is not empty only where `take_out` has left it, or someone else calls the magic
            self.shell.run_cell(cell).raise_error()


def take_out(lines):
    """An input transformation: `%%hygiene …` above a cell becomes a call, and the rest of the cell stays what it is."""
    first = lines[0] if lines else ""
    rest = first[2 + len(MAGIC) :]
    if not first.startswith(f"%%{MAGIC}") or (rest.strip() and not rest[0].isspace()):
        return lines
    body = lines[1:]
    if any("__future__" in line for line in body):
        return lines  # such an import must be the first statement: IPython hands the cell to the magic
    if body and body[0].startswith("%%"):
        from IPython.core.inputtransformer2 import cell_magic

        body = cell_magic(take_out(body))
    return [f"get_ipython().run_cell_magic({MAGIC!r}, {rest.strip()!r}, '\\n')\n", *body]


def completions(shell, before):
    """The words that may take the place of the last one in `before`, the line up to the cursor; none if it is not ours."""
    sign, _, rest = before.lstrip().partition(MAGIC)
    if sign not in ("%", "%%") or not rest[:1].isspace():
        return []
    words = rest.split()
    if rest[-1].isspace():
        words.append("")
    while len(words) > 1 and "=" in words[0]:
        del words[0]
    if len(words) == 1:
        above = sign == "%%"
        known = [
            name for name, command in COMMANDS.items() if (command.above if above else not name.endswith("="))
        ]
    elif words[0] in COMMANDS and (len(words) == 2 or COMMANDS[words[0]].takes_many):
        known = COMMANDS[words[0]].complete(shell)
    else:
        known = ()
    return [word for word in known if word.startswith(words[-1])]


def install_matcher(shell):
    """Teaches the shell's completer our commands; it asks nobody else about them."""
    from IPython.core.completer import SimpleCompletion, completion_matcher

    from . import isolate

    @completion_matcher(priority=1000, identifier=MAGIC, api_version=2)
    def match(context):
        before = context.text_until_cursor
        found = completions(shell, before) or isolate.completions(shell, before)
        word = "" if not before or before[-1].isspace() else before.split()[-1]
        return {
            "completions": [SimpleCompletion(text=text, type="magic") for text in found],
            "suppress": True,
            "ordered": True,
            "matched_fragment": word,
        }

    shell.Completer.custom_matchers.append(match)
