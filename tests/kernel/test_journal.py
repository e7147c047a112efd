"""The journal: what happened is in a file that outlives the kernel, and `rust-hygiene journal` tells it."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from frontend import PATIENCE

pytestmark = pytest.mark.ours


def folder(kernel):
    return Path(kernel.home.name) / "runtime" / "rust-hygiene"


def entries(kernel):
    (path,) = folder(kernel).glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for(kernel, wanted, what):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found = [entry for entry in entries(kernel) if wanted(entry)]
        except (ValueError, OSError):  # not there yet
            found = []
        if found:
            return found
        assert time.monotonic() < deadline, f"no {what} in the journal"
        time.sleep(0.02)


def program(kernel):
    return kernel.manager.kernel_spec.argv[0]


def told(kernel, *arguments):
    command = [program(kernel), "journal", *arguments]
    result = subprocess.run(
        command, env=kernel.env, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return result.stdout


def test_each_cell_is_a_line_with_its_record_and_without_its_code(start_kernel):
    kernel = start_kernel()
    kernel.execute_ok("secret_name = 'secret text'")
    kernel.execute("1 / 0")
    cells = wait_for(kernel, lambda e: e["event"] == "cell" and e["reply"]["status"] == "error", "cell")
    assert cells[0]["reply"]["rust_hygiene"]["v"] == 1
    (path,) = folder(kernel).glob("*.jsonl")
    assert "secret text" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stem == Path(kernel.manager.connection_file).stem
    kernel.shut_down()
    kernel.assert_all_gone()
    kinds = [entry["event"] for entry in entries(kernel)]
    assert (kinds[0], kinds[-1]) == ("start", "end")
    story = told(kernel)
    assert "In [2] (error)" in story and "the kernel ended: asked to" in story
    kernel.kill()


def test_the_code_is_kept_if_configured_and_nothing_at_all_if_not_wanted(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_JOURNAL_SOURCE": "true"})
    kernel.execute_ok("x = 'my code'")
    (cell,) = wait_for(kernel, lambda e: e["event"] == "cell" and e.get("source"), "cell")
    assert cell["source"] == "x = 'my code'"
    other = start_kernel(env={"RUST_HYGIENE_JOURNAL_SIZE": "0"})
    other.execute_ok("1")
    assert not folder(other).exists()


def test_the_story_survives_when_everything_is_killed(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_EXPLAIN_BUDGET_MS": "10000"})
    kernel.execute_ok("import numpy; mine = numpy.ones(5_000_000)")
    cell = kernel.start(
        "more = numpy.ones(30_000_000)\nprint('on', flush=True)\nimport time; time.sleep(1000)"
    )
    kernel.wait_for_stream(cell, "on")
    wait_for(kernel, lambda e: e["event"] == "begin" and e["cell"] == 2, "begin of the cell")
    wait_for(kernel, lambda e: e["event"] == "reading" and e["rss"] > 240_000_000, "reading")
    for pid in kernel.processes():
        with contextlib.suppress(ProcessLookupError):  # an interpreter ends with its front
            os.kill(pid, signal.SIGKILL)
    story = told(kernel)
    assert "mine" in story
    assert "In [2] was running" in story and "MiB when last seen" in story
    kernel.kill()


def test_a_death_is_in_the_journal(start_kernel):
    kernel = start_kernel()
    kernel.execute_ok("precious = 1")
    kernel.execute("import os; os._exit(5)")
    kernel.execute_ok("pass")
    wait_for(kernel, lambda e: e["event"] == "fresh", "fresh interpreter")
    story = told(kernel)
    assert "exit code 5" in story and "precious" in story and "a fresh interpreter started" in story


def number(entry):
    return entry.get("reply", {}).get("rust_hygiene", {}).get("cell", {}).get("execution_count")


def test_a_long_story_is_bounded(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_JOURNAL_SIZE": "100 KiB"})
    for _ in range(150):
        kernel.execute_ok("1")
    wait_for(kernel, lambda e: number(e) == 150, "last cell")
    assert sum(path.stat().st_size for path in folder(kernel).iterdir()) <= 100 << 10
    assert sorted(path.suffix for path in folder(kernel).iterdir()) == [".1", ".jsonl"]
    assert "In [150]" in told(kernel)


def test_a_session_in_which_nothing_happens_leaves_no_journal(start_kernel):
    kernel = start_kernel()
    kernel.request("shell", "kernel_info_request")
    kernel.shut_down()
    assert not list(Path(kernel.env["JUPYTER_RUNTIME_DIR"]).rglob("*.jsonl"))
    kernel.kill()


def test_a_story_can_be_followed(start_kernel):
    kernel = start_kernel()
    kernel.execute_ok("0")
    wait_for(kernel, lambda e: e["event"] == "start", "start")
    command = [program(kernel), "journal", "--follow"]
    with subprocess.Popen(command, env=kernel.env, stdout=subprocess.PIPE, text=True) as follower:
        kernel.execute_ok("1")
        try:
            while "In [2]" not in follower.stdout.readline():
                pass
        finally:
            follower.kill()


def test_a_journal_that_cannot_be_written_is_a_notice(start_kernel, tmp_path):
    (tmp_path / "runtime").write_text("in the way")
    kernel = start_kernel(env={"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")})
    notices = []
    for _ in range(5):
        notices += kernel.execute_ok("1").reply.metadata["rust_hygiene"]["notices"]
        time.sleep(0.1)
    assert len([notice for notice in notices if "journal" in notice]) == 1, notices
