"""Questions of a cell to the person: input, getpass, and what can go wrong while they wait."""

import pytest

from test_subshells import create, delete, on

ours = pytest.mark.ours


def ask(kernel, code):
    """A cell that asks; the cell and the question."""
    cell = kernel.start(code, allow_stdin=True)
    return cell, kernel.recv_stdin_request().content


def test_input_returns_the_answer(kernel):
    cell, question = ask(kernel, "name = input('Name? '); print('Hello', name)")
    assert question == {"prompt": "Name? ", "password": False}
    kernel.answer_input("Ada é \N{GRINNING FACE}")
    assert kernel.collect(cell).stdout == "Hello Ada é \N{GRINNING FACE}\n"


def test_getpass_asks_for_a_password(kernel):
    cell, question = ask(kernel, "import getpass; secret = getpass.getpass('Secret: ')")
    assert question == {"prompt": "Secret: ", "password": True}
    kernel.answer_input("hidden")
    exchange = kernel.collect(cell)
    assert (exchange.status, exchange.outputs) == ("ok", [])
    assert kernel.evaluate("secret") == "hidden"


def test_several_questions_are_asked_one_by_one(kernel):
    cell = kernel.start("answers = [input(f'{i}? ') for i in range(20)]", allow_stdin=True)
    for number in range(20):
        assert kernel.recv_stdin_request().content["prompt"] == f"{number}? "
        kernel.answer_input(str(number * number))
    assert kernel.collect(cell).status == "ok"
    assert kernel.evaluate("answers") == [str(i * i) for i in range(20)]


def test_what_was_printed_before_the_question_is_seen_before_it(kernel):
    cell = kernel.start("print('read this'); input()", allow_stdin=True)
    kernel.recv_stdin_request()
    kernel.wait_for_stream(cell, "read this\n")
    kernel.answer_input("")
    assert kernel.collect(cell).stdout == "read this\n"


def test_an_empty_answer_and_an_empty_prompt_are_answers(kernel):
    cell, question = ask(kernel, "empty = input()")
    assert question["prompt"] == ""
    kernel.answer_input("")
    kernel.collect(cell)
    assert kernel.evaluate("empty") == ""


def test_a_refused_question_does_not_spoil_the_next_one(kernel):
    assert kernel.execute("input('no')", allow_stdin=False).content["ename"] == "StdinNotImplementedError"
    cell, _ = ask(kernel, "print(input('yes'))")
    kernel.answer_input("ok")
    assert kernel.collect(cell).stdout == "ok\n"


def test_end_of_file_is_an_eof_error(kernel):
    """The protocol's end of file is the character that a terminal sends, U+0004."""
    cell, _ = ask(kernel, "input()")
    kernel.answer_input("\x04")
    assert kernel.collect(cell).content["ename"] == "EOFError"


@pytest.mark.parametrize("how", ["message", "signal"])
def test_an_interrupt_ends_the_question_and_the_next_one_is_fresh(kernel, how):
    cell, _ = ask(kernel, "input('interrupt me')")
    getattr(kernel, f"interrupt_by_{how}")()
    assert kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    cell, question = ask(kernel, "print(input('again'))")
    assert question["prompt"] == "again"
    kernel.answer_input("fresh")
    assert kernel.collect(cell).stdout == "fresh\n"


def test_an_answer_to_an_interrupted_question_is_not_taken_for_the_next(kernel):
    """The front end's answer may cross the interrupt on its way."""
    cell, _ = ask(kernel, "input('interrupt me')")
    kernel.interrupt_by_message()
    assert kernel.collect(cell).content["ename"] == "KeyboardInterrupt"
    kernel.answer_input("stale")
    kernel.wait_until_stdin_is_read()
    cell, _ = ask(kernel, "print(input())")
    kernel.answer_input("fresh")
    assert kernel.collect(cell).stdout == "fresh\n"


@ours
@pytest.mark.parametrize("value", [{"a": 1}, [1], None, 5, "text"])
def test_an_answer_that_nobody_asked_for_is_forgotten(kernel, value):
    """Colab sends dictionaries on this channel."""
    kernel.answer_input(value)
    kernel.wait_until_stdin_is_read()
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"
    cell, _ = ask(kernel, "print(input())")
    kernel.answer_input("asked")
    assert kernel.collect(cell).stdout == "asked\n"


@ours
def test_a_dictionary_does_not_answer_a_question(kernel):
    """Colab's page talks to its own kernel so; ipykernel takes it for what the person entered."""
    cell, _ = ask(kernel, "print(input('Name? '))")
    kernel.answer_input({"type": "colab_reply", "data": None})
    kernel.answer_input("Ada")
    assert kernel.collect(cell).stdout == "Ada\n"


@ours
@pytest.mark.parametrize("raw", [b"[]", b"nonsense", b"{}"])
def test_a_malformed_answer_does_not_end_the_kernel(kernel, raw):
    kernel.send("stdin", "input_reply", raw_content=raw)
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


def test_a_question_in_a_nested_call_works(kernel):
    code = "import asyncio\nasync def ask(): return input('deep ')\nprint(await ask())"
    cell, question = ask(kernel, code)
    assert question["prompt"] == "deep "
    kernel.answer_input("answer")
    assert kernel.collect(cell).stdout == "answer\n"


def test_the_debugger_asks_and_quits(kernel):
    kernel.execute("def fails():\n    local = 42\n    1/0\nfails()", stop_on_error=False)
    cell, question = ask(kernel, "%debug")
    assert question["prompt"] == "ipdb> "
    kernel.answer_input("p local")
    assert kernel.recv_stdin_request().content["prompt"] == "ipdb> "
    kernel.answer_input("q")
    assert "42" in kernel.collect(cell).stdout


ASK_IN_THREAD = """
import threading
def ask(prompt):
    answers[prompt] = input(prompt)
answers = {}
threads = [threading.Thread(target=ask, args=(f"{number}?",)) for number in range(5)]
for thread in threads:
    thread.start()
"""


def test_threads_and_the_cell_that_ask_at_once_get_each_their_answer(kernel):
    cell = kernel.start(ASK_IN_THREAD + "ask('cell?')\nfor t in threads: t.join()", allow_stdin=True)
    questions = [kernel.recv_stdin_request() for _ in range(6)]
    for question in reversed(questions):
        kernel.send(
            "stdin", "input_reply", {"value": question.content["prompt"].upper()}, parent=question.header
        )
    assert kernel.collect(cell).status == "ok"
    assert all(value == key.upper() for key, value in kernel.evaluate("answers").items())
    assert len(kernel.evaluate("answers")) == 6


def test_a_thread_gets_its_answer_after_its_cell(kernel):
    cell = kernel.start(
        "import threading\nt = threading.Thread(target=lambda: got.append(input()))\ngot = []; t.start()",
        allow_stdin=True,
    )
    question = kernel.recv_stdin_request()
    kernel.collect(cell)
    assert kernel.execute_ok("print('between')").stdout == "between\n"
    kernel.send("stdin", "input_reply", {"value": "x" * 300_000}, parent=question.header)
    kernel.execute_ok("t.join()")
    assert kernel.evaluate("len(got[0])") == 300_000


@ours
def test_a_thread_that_asks_when_no_cell_runs_gets_the_end_of_the_file(kernel):
    code = """
import threading
def ask():
    go.wait()
    try: input()
    except EOFError as error: failed.append(str(error))
go, failed = threading.Event(), []
t = threading.Thread(target=ask); t.start()
threading.Timer(0.2, go.set).start()
"""
    kernel.execute(code, allow_stdin=True)
    kernel.pump_for(0.5)
    kernel.execute_ok("t.join()")
    assert kernel.evaluate("failed") == ["EOF when reading a line"]


FORK_THAT_ASKS = """
import os, getpass
def fork_and_ask():
    pid = os.fork()
    if not pid:
        code = 1
        try:
            {question}
        except {error} as error:
            code = 7 if "a forked process cannot ask" in str(error) else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
QUESTIONS = {
    "input": ("input('from the fork')", "EOFError"),
    "getpass": ("getpass.getpass()", "EOFError"),
    "an order to the front": ("get_ipython().kernel.order('clean')", "Exception"),
}


@ours
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_fork_is_refused_its_questions(kernel, name):
    question, error = QUESTIONS[name]
    kernel.execute_ok(FORK_THAT_ASKS.format(question=question, error=error))
    in_thread = (
        "import threading\ncodes = [fork_and_ask()]\n"
        "t = threading.Thread(target=lambda: codes.append(fork_and_ask())); t.start(); t.join()"
    )
    kernel.execute_ok(in_thread, allow_stdin=True)
    assert kernel.evaluate("codes") == [7, 7]
    cell, _ = ask(kernel, "print(input('the notebook asks'))")
    kernel.answer_input("and is answered")
    assert kernel.collect(cell).stdout == "and is answered\n"


@ours
def test_a_fork_of_a_subshell_is_refused_its_questions(kernel):
    kernel.execute_ok(FORK_THAT_ASKS.format(question="input()", error="EOFError"))
    subshell = create(kernel)
    kernel.execute_ok("code_of_subshell = fork_and_ask()", allow_stdin=True, **on(subshell))
    assert kernel.evaluate("code_of_subshell") == 7
    delete(kernel, subshell)


@ours
def test_what_the_front_knows_is_not_told_to_a_fork(kernel):
    code = """
import os
pid = os.fork()
if not pid:
    %hygiene why
os.waitpid(pid, 0)[1]
"""
    exchange = kernel.execute_ok(code)
    assert exchange.result == "256" and "a forked process cannot ask" in exchange.stderr
