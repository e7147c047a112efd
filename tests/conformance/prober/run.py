"""Runs a probe on a kernel: the facts of each cell."""

import json
import re
import time

from .debug import Debugging
from .facts import Facts
from .normal import Normal
from .talk import Talk

REFERENCE = "python3"  # ipykernel's own kernelspec
_AT_THE_END = 0.3  # what threads and tasks still say
_COMM = ("comm_open", "comm_msg", "comm_close")


def run(probe, kernel, env=None, argv=(), drop=None):
    """The facts of each cell. `drop` says of a message on IOPub that it is not to be compared."""
    talk = Talk(kernel, probe, env, argv)
    try:
        cells = []
        for verb, options, body in probe.cells:
            answers = _VERBS[verb[0]](talk, verb[1:], options, body)
            cells.append(answers)
            if any("the kernel hangs" in answer.notes for _, answer in answers):
                break
            if not probe.dies and not talk.manager.is_alive():
                break
        talk.linger(_AT_THE_END)
        normal = Normal(talk.folder, probe.ignore)
        return [_facts_of(answers, normal, probe.is_loose, drop) for answers in cells]
    finally:
        talk.close()


def _facts_of(answers, normal, is_loose, drop):
    lines = []
    for label, answer in answers:
        if drop is not None:
            answer.published = [message for message in answer.published if not drop(message)]
        facts = Facts(normal, is_loose).of(answer)
        lines += [f"{label}{line}" for line in facts]
    return lines


def _execute(talk, _, options, body, interrupt=False):
    silent = options.get("silent") == "1"
    content = {
        "code": body,
        "silent": silent,
        "store_history": options.get("store_history", "0" if silent else "1") == "1",
        "user_expressions": json.loads(options.get("expr", "{}")),
        "allow_stdin": options.get("allow_stdin", "1") == "1",
        "stop_on_error": options.get("stop_on_error", "1") == "1",
    }
    talk.linger(float(options.get("sleep", 0)))
    if "stdin" in options:
        talk.stdin = json.loads(options["stdin"])
    metadata = {"cellId": "a-cell"} if options.get("cell_id") == "1" else None
    answer = talk.send("shell", "execute_request", content, metadata)
    talk.wait(answer, interrupt)
    talk.linger(float(options.get("settle", talk.settle)))
    return [("", answer)]


def _interrupt(talk, rest, options, body):
    return _execute(talk, rest, options, body, interrupt=True)


def _asking(kind, split):
    def ask(talk, _, options, body):
        answers = []
        for code in split(body):
            at = code.find("⟂")
            code = code.replace("⟂", "", 1)
            content = {"code": code}
            if kind != "is_complete":
                content["cursor_pos"] = at if at >= 0 else len(code)
            if kind == "inspect":
                content["detail_level"] = int(options.get("level", 0))
            answer = talk.send("shell", f"{kind}_request", content)
            talk.wait(answer)
            answers.append((f"[{code[:57]}] ", answer))
        return answers

    return ask


def _lines(body):
    return [line for line in body.splitlines() if line.strip()]


def _blocks(body):
    return [block.strip("\n") for block in re.split(r"(?m)^---$", body)]


def _request(talk, rest, options, body):
    answers = []
    for line in _lines(body):
        kind, content = json.loads(line)
        answer = talk.send(rest[0], kind, content)
        talk.wait(answer, needs_reply=kind not in _COMM)
        answers.append(("", answer))
    return answers


def _dump(talk, rest, options, body):
    return [("", _debugging(talk).dump(rest[0], body))]


def _start(talk, rest, options, body):
    _debugging(talk).start(rest[0])
    return []


def _end(talk, _, options, body):
    return [("", _debugging(talk).end())]


def _debug(talk, _, options, body):
    answers = []
    for line in _lines(body):
        command, arguments = json.loads(line)
        if command == "wait":
            answers.append((f"[wait {arguments}] ", _debugging(talk).wait(arguments)))
        else:
            answers.append((f"[{command}] ", _debugging(talk).ask(command, arguments)))
    return answers


def _debugging(talk):
    if talk.debugging is None:
        talk.debugging = Debugging(talk)
    return talk.debugging


def _queue(talk, _, options, body):
    """Also who was answered first."""
    sent = [talk.send("shell", *json.loads(line)) for line in _lines(body)]
    replied = []
    end = time.monotonic() + 60
    while time.monotonic() < end and not all(answer.reply and answer.idle_at for answer in sent):
        talk.pump(0.1)
        replied += [at for at, answer in enumerate(sent) if answer.reply and at not in replied]
    answers = [(f"[{at}] ", answer) for at, answer in enumerate(sent)]
    sent[-1].notes.append(f"replies in the order {replied}")
    return answers


_VERBS = {
    "execute": _execute,
    "interrupt": _interrupt,
    "complete": _asking("complete", _lines),
    "complete1": _asking("complete", lambda body: [body]),
    "inspect": _asking("inspect", _lines),
    "inspect1": _asking("inspect", lambda body: [body]),
    "is_complete": _asking("is_complete", _blocks),
    "request": _request,
    "dump": _dump,
    "start": _start,
    "end": _end,
    "debug": _debug,
    "queue": _queue,
}
