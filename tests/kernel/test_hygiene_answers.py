"""`%hygiene why`, `vars` and `ledger` in a real kernel: right about cells whose memory is known."""

import re

import pytest

from record import BADGE, MIB, record_of

pytestmark = pytest.mark.ours

SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@pytest.fixture
def kernel(start_kernel):
    """A fresh one: the numbers of its cells and its variables are ours."""
    kernel = start_kernel()
    kernel.execute_ok("import numpy as np")
    return kernel


def answer(exchange):
    """The text of the one answer, which also has HTML and the mark of what is ours."""
    (shown,) = exchange.of("display_data")
    assert set(shown.content["data"]) == {"text/plain", "text/html"}
    assert shown.content["metadata"] == {"rust_hygiene": {"v": 1}}
    return shown.content["data"]["text/plain"]


def sizes(text):
    """All sizes in a text, bytes."""
    found = re.findall(r"([\d.]+) ([KMG]i?B|B)\b", text)
    return [float(number) * SIZES[unit] for number, unit in found]


def row(text, name):
    (line,) = [line for line in text.splitlines() if re.match(rf"  {re.escape(name)}\s", line)]
    return line


def test_why_explains_the_last_cell_that_did_something(kernel):
    number = kernel.execute_ok("data = np.ones(10_000_000)").content["execution_count"]
    kernel.execute_ok("%hygiene why")
    kernel.execute_ok("# only a comment")
    text = answer(kernel.execute_ok("%hygiene why"))
    assert text.startswith(f"[hygiene] Cell [{number}]\n")
    (variable, *_) = [line for line in text.splitlines() if line.startswith("  data ")]
    assert sizes(variable)[0] == pytest.approx(80_000_000, rel=0.02)
    assert "New names: data." in text and "Nothing of this cell." in text


def test_why_of_an_earlier_cell_and_of_one_that_is_not_known(kernel):
    number = kernel.execute_ok("first = np.ones(5_000_000)").content["execution_count"]
    kernel.execute_ok("second = 2")
    for asked in (number, f"[{number}]"):
        assert "New names: first." in answer(kernel.execute_ok(f"%hygiene why {asked}"))
    exchange = kernel.execute("%hygiene why 999", stop_on_error=False)
    assert "[999]" in exchange.content["evalue"] and "[1] to" in exchange.content["evalue"]
    exchange = kernel.execute("%hygiene why first", stop_on_error=False)
    assert "not the number of a cell" in exchange.content["evalue"]


def test_why_above_a_cell_searches_however_little_the_cell_did(kernel):
    exchange = kernel.execute_ok("%%hygiene why\nsmall = list(range(3000))")
    text = answer(exchange)
    assert text.startswith(f"[hygiene] Cell [{exchange.content['execution_count']}]\n")
    assert "moved too little" not in text and "small" in text
    assert record_of(exchange)["variables"][0]["name"] == "small"


def test_why_takes_the_place_of_the_badge(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_BADGE": "output"})
    (badge,) = kernel.execute_ok("x = bytearray(50_000_000)").of("display_data")
    assert set(badge.content["data"]) == set(BADGE)
    assert "Cell [2]" in answer(kernel.execute_ok("%%hygiene\ny = bytearray(50_000_000)"))


def test_why_names_what_only_the_output_history_keeps(kernel):
    text = answer(kernel.execute_ok("%%hygiene why\nnp.ones(10_000_000)"))
    assert "! Leak: " in text and "%xdel _2" in text and "%hygiene help ipython_refs" in text


def test_vars_tells_what_deleting_a_name_frees(kernel):
    kernel.execute_ok("big = np.ones(10_000_000)\nview = big[1:]\nalone = np.ones(5_000_000)\nsame = alone")
    text = answer(kernel.execute_ok("%hygiene vars"))
    held, own = sizes(row(text, "alone = same"))[:2]
    assert held == own == pytest.approx(40_000_000, rel=0.02)
    held, own, shared = sizes(row(text, "big"))[:3]
    assert held == shared == pytest.approx(80_000_000, rel=0.02) and own < MIB
    assert "view (" in row(text, "big") and "big (" in row(text, "view")


def test_vars_knows_that_the_output_history_holds_it_too(kernel):
    kernel.execute_ok("shown = np.ones(10_000_000)\nshown")
    line = row(answer(kernel.execute_ok("%hygiene vars")), "shown")
    assert "Out[2] (" in line and sizes(line)[1] < MIB


def test_vars_runs_no_code_of_the_user_and_keeps_nothing_alive(kernel):
    kernel.execute_ok(
        "import weakref, gc\n"
        "class Meddler:\n"
        "    ran = []\n"
        "    def __getattr__(self, name): Meddler.ran.append(name); raise AttributeError(name)\n"
        "    def __sizeof__(self): Meddler.ran.append('size'); return 1 << 40\n"
        "    def __eq__(self, other): Meddler.ran.append('eq'); return True\n"
        "    def __hash__(self): Meddler.ran.append('hash'); return 1\n"
        "    def __repr__(self): Meddler.ran.append('repr'); return ''\n"
        "meddler = Meddler(); meddler.data = np.ones(1_000_000); gone = weakref.ref(meddler.data)"
    )
    kernel.execute_ok("%hygiene vars")
    assert kernel.evaluate("Meddler.ran") == []
    kernel.execute_ok("del meddler.data")
    assert kernel.evaluate("gone() is None") is True


def test_vars_above_a_cell_is_about_its_end(kernel):
    exchange = kernel.execute_ok("%%hygiene vars\nmade_here = np.ones(5_000_000)")
    assert sizes(row(answer(exchange), "made_here"))[0] == pytest.approx(40_000_000, rel=0.02)


def test_ledger_adds_up(kernel):
    kernel.execute_ok("kept = np.ones(10_000_000)")
    kernel.execute_ok("dropped = np.ones(10_000_000)")
    kernel.execute_ok("del dropped")
    kernel.execute_ok("np.ones(5_000_000)")
    text = answer(kernel.execute_ok("%hygiene ledger"))
    assert sizes(row(text, "kept"))[0] == pytest.approx(80_000_000, rel=0.02)
    assert sizes(row(text, "Out[5]"))[0] == pytest.approx(40_000_000, rel=0.02)
    assert not [line for line in text.splitlines() if line.startswith("  dropped ")]
    assert "parts do not add up" not in text
    for number in range(1, 6):
        assert f"  [{number}]  " in text


def test_without_measuring_the_answers_say_so(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_MEASURE": "off"})
    for line in ("%hygiene why", "%hygiene ledger", "%hygiene vars", "%%hygiene why\npass"):
        exchange = kernel.execute(line, stop_on_error=False)
        assert "not measured" in exchange.content["evalue"], line
