"""`%hygiene` and `%%hygiene`: commands, mistakes, completion, and cells below the magic that run as without it."""

import pytest

from record import CAUSES, FINDINGS, record_of

pytestmark = pytest.mark.ours

BIG = "import numpy as np\nnp.ones(20_000_000)"


def completions(kernel, code):
    request = {"code": code, "cursor_pos": len(code)}
    reply = kernel.request("shell", "complete_request", request).content
    return {code[: reply["cursor_start"]] + match for match in reply["matches"]}


def test_help_lists_every_command_that_completion_offers(kernel):
    overview = kernel.execute_ok("%hygiene help").stdout
    assert kernel.execute_ok("%hygiene").stdout == overview
    offered = completions(kernel, "%hygiene ")
    assert {"%hygiene leaks", "%hygiene help"} <= offered
    assert "%%hygiene help" not in completions(kernel, "%%hygiene ")
    for command in offered:
        assert command in overview
        assert command in kernel.execute_ok(f"%hygiene help {command.split()[1]}").stdout


@pytest.mark.parametrize(
    "line, says",
    [
        ("%hygiene leeks", ["'leeks'", "Did you mean 'leaks'?", "help"]),
        ("%hygiene xyzzy", ["'xyzzy'", "leaks, "]),
        ("%hygiene help leeks", ["'leeks'", "Did you mean 'leaks'?"]),
        ("%hygiene help figuers", ["Did you mean 'figures'?"]),
        ("%hygiene leaks now", ["'now'", "%hygiene leaks"]),
        ("%hygiene cup=3GiB", ["'cup='"]),
        ("%%hygiene help\npass", ["above a cell", "%hygiene help"]),
        ("%%hygiene leeks\npass", ["Did you mean 'leaks'?"]),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(kernel, line, says):
    exchange = kernel.execute(line, stop_on_error=False)
    assert exchange.status == "error" and exchange.content["ename"] == "UsageError"
    for text in says:
        assert text in exchange.content["evalue"]


def test_every_cause_has_a_page_with_what_to_do(kernel):
    causes = completions(kernel, "%hygiene help ") - completions(kernel, "%hygiene ")
    causes = {found.split()[2] for found in causes} & CAUSES
    assert causes == CAUSES
    for cause in sorted(causes):
        (shown,) = kernel.execute_ok(f"%hygiene help {cause}").of("display_data")
        page = shown.content["data"]["text/plain"]
        assert page == shown.content["data"]["text/markdown"]
        assert page.startswith(f"# {cause}: ") and "## Fix" in page and "<!--" not in page
    assert kernel.execute_ok("%hygiene help").stdout.count("_") > 10


def test_a_mistake_above_a_cell_keeps_the_cell_from_running(kernel):
    kernel.execute("%%hygiene leeks\nran = True", stop_on_error=False)
    assert kernel.evaluate("'ran' in globals()") is False


@pytest.mark.parametrize(
    "typed, offered",
    [
        ("%hygiene le", {"%hygiene leaks", "%hygiene ledger"}),
        ("%%hygiene lea", {"%%hygiene leaks"}),
        ("x = 1\n%hygiene hel", {"x = 1\n%hygiene help"}),
        ("%hygiene help lea", {"%hygiene help leaks"}),
    ],
)
def test_commands_and_their_words_are_completed(kernel, typed, offered):
    assert completions(kernel, typed) == offered


def test_above_a_cell_the_answer_is_about_that_cell_and_comes_at_its_end(kernel):
    kernel.execute_ok("%reset -f")
    exchange = kernel.execute_ok(f"%%hygiene leaks\nprint('first')\n{BIG}")
    assert exchange.outputs == ["stdout", "execute_result", "display_data"]
    (shown,) = exchange.of("display_data")
    (finding,) = shown.content["data"][FINDINGS]["findings"]
    assert finding["culprit"]["name"] == f"Out[{exchange.content['execution_count']}]"
    kernel.execute_ok(finding["hint"])


@pytest.mark.parametrize(
    "cell, result",
    [
        ("%%hygiene leaks\n1 + 1", "2"),
        ("\n  %%hygiene leaks  \n  1 + 2", "3"),
        ("%%hygiene leaks\n%time 2 + 2", "4"),
        ("%%hygiene leaks\nimport asyncio\nawait asyncio.sleep(0, 5)", "5"),
        ("%%hygiene leaks\n%%hygiene leaks\n6", "6"),
        ("%%hygiene leaks\nfrom __future__ import annotations\n7", "7"),
    ],
)
def test_a_cell_below_the_magic_runs_as_without_it(kernel, cell, result):
    exchange = kernel.execute_ok(cell)
    assert exchange.result == result
    (shown,) = exchange.of("display_data")
    assert FINDINGS in shown.content["data"]


def test_another_cell_magic_may_follow(kernel):
    exchange = kernel.execute_ok("%%hygiene leaks\n%%bash\necho from bash")
    assert exchange.stdout == "from bash\n"
    assert len(exchange.of("display_data")) == 1


def test_a_cell_below_the_magic_that_fails_is_answered_and_its_lines_are_counted_as_written(kernel):
    exchange = kernel.execute("%%hygiene leaks\nx = 1\n1 / 0", stop_on_error=False)
    assert exchange.content["ename"] == "ZeroDivisionError"
    assert any("line 3" in line or "----> 3" in line for line in exchange.content["traceback"])
    assert len(exchange.of("display_data")) == 1


def test_the_magic_itself_can_be_asked_about(kernel):
    assert "hygiene" in kernel.execute_ok("%hygiene?").content["payload"][0]["data"]["text/plain"]
    assert kernel.execute_ok("%%hygiene?").content["payload"]


def test_an_answer_that_would_wipe_the_cell_is_not_given(kernel):
    exchange = kernel.execute_ok(
        "%%hygiene leaks\nfrom IPython.display import clear_output\nprint('kept')\nclear_output(wait=True)"
    )
    assert exchange.outputs == ["stdout", "clear_output"]
    record_of(exchange)
