"""What an execute_request means: options, counts, errors, payloads, magics, displays."""

import base64

import pytest

ours = pytest.mark.ours


def count(kernel):
    return kernel.execute_ok("pass", silent=True).content["execution_count"]


def test_a_silent_cell_says_nothing_and_does_not_count(kernel):
    before = count(kernel)
    exchange = kernel.execute_ok("silent_name = 5; 6", silent=True)
    assert exchange.types == []
    assert count(kernel) == before
    assert kernel.evaluate("silent_name") == 5


def test_a_silent_error_is_in_the_reply(kernel):
    exchange = kernel.execute("1/0", silent=True)
    assert (exchange.status, exchange.content["ename"]) == ("error", "ZeroDivisionError")


def test_counts_go_up_by_one_a_stored_cell_even_after_an_error(kernel):
    counts = [
        kernel.execute(code, stop_on_error=False).content["execution_count"] for code in ("1", "1/0", "2")
    ]
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]


def test_a_cell_outside_of_history_keeps_the_count_and_leaves_no_trace(kernel):
    first = kernel.execute_ok("'not stored'", store_history=False)
    second = kernel.execute_ok("'not stored'", store_history=False)
    assert first.result == "'not stored'"
    assert first.content["execution_count"] == second.content["execution_count"]
    assert kernel.evaluate("'not stored' in In") is False


def test_input_and_output_caches_follow_the_count(kernel):
    number = kernel.execute_ok("11 * 11").content["execution_count"]
    assert kernel.evaluate(f"(In[{number}], Out[{number}], _)") == ("11 * 11", 121, 121)


@pytest.mark.parametrize("code", ["", "   \n\n", "# only a comment"])
def test_a_cell_without_code_is_ok_and_shows_nothing(kernel, code):
    assert kernel.execute_ok(code).outputs == []


def test_user_expressions_give_bundles_and_errors_side_by_side(kernel):
    asked = {"good": "6 * 7", "bad": "no_such_name", "rich": "RichOne()"}
    code = "class RichOne:\n    def _repr_html_(self): return '<b>rich</b>'"
    given = kernel.execute_ok(code, user_expressions=asked).content["user_expressions"]
    assert given["good"]["data"] == {"text/plain": "42"}
    assert (given["bad"]["status"], given["bad"]["ename"]) == ("error", "NameError")
    assert given["rich"]["data"]["text/html"] == "<b>rich</b>"


def test_user_expressions_are_not_evaluated_after_an_error(kernel):
    exchange = kernel.execute("1/0", user_expressions={"x": "1"})
    assert exchange.content.get("user_expressions", {}) == {}


@pytest.mark.parametrize("ask", ["input('?')", "import getpass; getpass.getpass('?')"])
def test_asking_without_a_front_end_that_answers_is_refused(kernel, ask):
    exchange = kernel.execute(ask, allow_stdin=False)
    assert (exchange.status, exchange.content["ename"]) == ("error", "StdinNotImplementedError")


def queue_behind_an_error(kernel, **options):
    """An error that happens only when the cells behind it have certainly arrived, and those cells."""
    failing = kernel.start("import time; time.sleep(0.5); 1/0", **options)
    behind = [kernel.start(f"print('ran {number}')") for number in range(3)]
    return kernel.collect(failing), [kernel.collect(cell) for cell in behind]


def test_an_error_aborts_the_queued_cells(kernel):
    failed, behind = queue_behind_an_error(kernel)
    assert failed.status == "error"
    assert [cell.status for cell in behind] == ["aborted"] * 3
    assert [cell.types for cell in behind] == [[]] * 3
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


def test_an_error_aborts_only_cells_not_other_requests(kernel):
    failing = kernel.start("import time; time.sleep(0.5); 1/0")
    asked = kernel.send("shell", "complete_request", {"code": "isinst", "cursor_pos": 6})
    assert kernel.collect(failing).status == "error"
    assert kernel.collect(asked).content["matches"] == ["isinstance"]


@ours
def test_an_aborted_reply_carries_the_count(kernel):
    failed, behind = queue_behind_an_error(kernel)
    assert {cell.content["execution_count"] for cell in behind} == {failed.content["execution_count"]}


def test_without_stop_on_error_the_queue_goes_on(kernel):
    failed, behind = queue_behind_an_error(kernel, stop_on_error=False)
    assert failed.status == "error"
    assert [cell.stdout for cell in behind] == ["ran 0\n", "ran 1\n", "ran 2\n"]


def test_queued_cells_run_in_the_order_sent(kernel):
    kernel.execute_ok("order = []")
    cells = [kernel.start(f"order.append({number})") for number in range(50)]
    for cell in cells:
        assert kernel.collect(cell).status == "ok"
    assert kernel.evaluate("order") == list(range(50))


def test_the_cell_id_of_the_front_end_reaches_ipython(kernel):
    kernel.execute_ok(
        "seen = []; get_ipython().events.register('pre_run_cell', lambda i: seen.append(i.cell_id))"
    )
    kernel.execute_ok("pass", metadata={"cellId": "cell-77"})
    kernel.execute_ok("get_ipython().events.callbacks['pre_run_cell'].pop()")
    assert kernel.evaluate("seen[0]") == "cell-77"


def test_a_syntax_error_points_at_the_place(kernel):
    exchange = kernel.execute("x = = 1")
    assert exchange.content["ename"] == "SyntaxError"
    assert "x = = 1" in "".join(exchange.content["traceback"])


def test_an_exception_that_cannot_be_printed_is_still_an_error(kernel):
    code = "class Odd(Exception):\n    def __str__(self): raise RuntimeError('no text')\nraise Odd()"
    assert kernel.execute(code).content["ename"] in ("Odd", "RuntimeError")


def test_a_custom_traceback_is_shown(kernel):
    code = "class Own(Exception):\n    def _render_traceback_(self): return ['my own lines']\nraise Own('x')"
    assert kernel.execute(code).content["traceback"] == ["my own lines"]


def test_sys_exit_ends_the_cell_but_not_the_kernel(kernel):
    exchange = kernel.execute("import sys; sys.exit(3)")
    assert (exchange.status, exchange.content["ename"]) == ("error", "SystemExit")
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


# --- payloads


def test_a_question_mark_pages_the_help(kernel):
    (page,) = kernel.execute_ok("zip?").content["payload"]
    assert page["source"] == "page"
    assert "zip" in page["data"]["text/plain"]


def test_set_next_input_is_a_payload(kernel):
    (payload,) = kernel.execute_ok("get_ipython().set_next_input('next cell')").content["payload"]
    assert (payload["source"], payload["text"], payload["replace"]) == ("set_next_input", "next cell", False)


def test_load_replaces_the_cell(kernel):
    kernel.execute_ok(
        "import tempfile; name = tempfile.mktemp('.py'); open(name, 'w').write('loaded = 1\\n')"
    )
    (payload,) = kernel.execute_ok("%load $name").content["payload"]
    assert payload["replace"] is True
    assert payload["text"].endswith("loaded = 1\n")


@pytest.mark.parametrize(
    ("code", "keep"), [("exit", False), ("quit()", False), ("exit(keep_kernel=True)", True)]
)
def test_exit_asks_the_front_end_to_exit(start_kernel, code, keep):
    """Its own kernel: `exit` ends ipykernel, though only after the reply and idle."""
    kernel = start_kernel()
    exchange = kernel.execute(code)
    assert [(p["source"], p["keepkernel"]) for p in exchange.content["payload"]] == [("ask_exit", keep)]
    kernel.kill()


def test_payloads_are_given_once(kernel):
    kernel.execute_ok("zip?")
    assert kernel.execute_ok("1").content["payload"] == []


# --- magics and await


def test_capture_keeps_the_output(kernel):
    code = "%%capture held\nimport sys\nprint('o')\nprint('e', file=sys.stderr)\ndisplay('d')"
    assert kernel.execute_ok(code).outputs == []
    assert kernel.evaluate("(held.stdout, held.stderr, len(held.outputs))") == ("o\n", "e\n", 1)
    assert kernel.execute_ok("held.show()").outputs == ["stdout", "stderr", "display_data"]


def test_bash_cells_run(kernel):
    assert kernel.execute_ok("%%bash\nfor i in 1 2; do echo line $i; done").stdout == "line 1\nline 2\n"


def test_a_failing_bash_cell_is_an_error(kernel):
    assert kernel.execute("%%bash\nexit 3").content["ename"] == "CalledProcessError"


def test_timeit_reports(kernel):
    assert "per loop" in kernel.execute_ok("%timeit -n 2 -r 2 pass").stdout


def test_shell_commands_print_and_can_be_assigned(kernel):
    assert kernel.execute_ok("!echo from-the-shell").stdout.replace("\r", "") == "from-the-shell\n"
    assert kernel.execute_ok("lines = !printf 'a\\nb\\n'\nlist(lines)").result == "['a', 'b']"
    kernel.execute_ok("!exit 7")
    assert kernel.evaluate("_exit_code") == 7


def test_an_unknown_magic_says_so(kernel):
    exchange = kernel.execute("%no_such_magic")
    said = exchange.stderr + "".join(exchange.content.get("traceback", []))
    assert "no_such_magic" in said


def test_await_works_at_the_top_of_a_cell(kernel):
    code = "import asyncio\nawait asyncio.sleep(0.01)\nasync def f(): return 'awaited'\nawait f()"
    assert kernel.execute_ok(code).result == "'awaited'"


def test_a_task_goes_on_while_a_later_cell_awaits(kernel):
    code = "done = []\nasync def work():\n    await asyncio.sleep(0)\n    done.append(1)\ntask = asyncio.create_task(work())"
    kernel.execute_ok("import asyncio\n" + code)
    kernel.execute_ok("await task")
    assert kernel.evaluate("done") == [1]


# --- displays


def test_the_last_expression_is_the_result_unless_silenced(kernel):
    assert kernel.execute_ok("1; 2").result == "2"
    assert kernel.execute_ok("3;").outputs == []
    assert kernel.execute_ok("None").outputs == []


def test_every_rich_repr_is_in_the_bundle(kernel):
    code = """
class Rich:
    def __repr__(self): return 'plain'
    def _repr_html_(self): return '<i>h</i>'
    def _repr_markdown_(self): return '*m*'
    def _repr_latex_(self): return '$l$'
    def _repr_svg_(self): return '<svg/>'
    def _repr_json_(self): return {'j': [1, None]}
    def _repr_png_(self): return b'\\x89PNG bytes'
    def _repr_javascript_(self): return '1'
Rich()"""
    (result,) = kernel.execute_ok(code).of("execute_result")
    bundle = result.content["data"]
    assert base64.b64decode(bundle.pop("image/png")) == b"\x89PNG bytes"
    assert bundle == {
        "text/plain": "plain",
        "text/html": "<i>h</i>",
        "text/markdown": "*m*",
        "text/latex": "$l$",
        "image/svg+xml": "<svg/>",
        "application/json": {"j": [1, None]},
        "application/javascript": "1",
    }


def test_a_mimebundle_passes_with_its_metadata(kernel):
    code = """
class Bundle:
    def _repr_mimebundle_(self, **options):
        return {'text/plain': 'b', 'application/vnd.test+json': {'k': 1}}, {'application/vnd.test+json': {'expanded': True}}
Bundle()"""
    (result,) = kernel.execute_ok(code).of("execute_result")
    assert result.content["data"]["application/vnd.test+json"] == {"k": 1}
    assert result.content["metadata"] == {"application/vnd.test+json": {"expanded": True}}


def test_a_repr_that_raises_is_reported(kernel):
    exchange = kernel.execute(
        "class Broken:\n    def __repr__(self): raise ValueError('broken repr')\nBroken()"
    )
    said = exchange.stderr + "".join(text for m in exchange.of("error") for text in m.content["traceback"])
    assert "broken repr" in said


def test_updates_keep_their_order_and_their_display(kernel):
    code = "h = display(0, display_id='fixed')\nfor i in range(1, 20): h.update(i)"
    shown = kernel.execute_ok(code).of("display_data", "update_display_data")
    assert [m.content["data"]["text/plain"] for m in shown] == [str(i) for i in range(20)]
    assert {m.content["transient"]["display_id"] for m in shown} == {"fixed"}


def test_a_display_of_an_earlier_cell_can_be_updated(kernel):
    kernel.execute_ok("old = display('first', display_id=True)")
    exchange = kernel.execute_ok("old.update('second')")
    assert exchange.outputs == ["update_display_data"]


@pytest.mark.packages
def test_matplotlib_draws_inline(kernel):
    code = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    (shown,) = kernel.execute_ok(code).of("display_data")
    assert shown.content["data"]["image/png"].startswith("iVBORw0KGgo")
    assert "Figure size" in shown.content["data"]["text/plain"]


@pytest.mark.packages
def test_matplotlib_is_inline_without_a_magic(start_kernel):
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    (shown,) = start_kernel().execute_ok(code).of("display_data")
    assert "image/png" in shown.content["data"]


def test_logging_and_warnings_come_on_stderr(kernel):
    code = "import logging, warnings\nlogging.warning('a log line')\nwarnings.warn('a warning')"
    stderr = kernel.execute_ok(code).stderr
    assert "a log line" in stderr and "UserWarning: a warning" in stderr
