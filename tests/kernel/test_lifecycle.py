"""Start, restart, end, and death of the kernel and of its interpreter."""

import os
import signal
import time
from datetime import datetime, timezone

import pytest

from frontend import KERNEL, PATIENCE, Frontend

ours = pytest.mark.ours


def interpreter_pid(kernel):
    return kernel.evaluate("__import__('os').getpid()")


# --- start


def without_option(argv, option):
    """The command line without `--option value` and `--option=value`."""
    kept = []
    skip = False
    for word in argv:
        if skip:
            skip = False
        elif word == option:
            skip = True
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept


def python_of_the_environment(argv):
    """Lets RUST_HYGIENE_PYTHON choose, which --python would overrule."""
    return without_option(argv, "--python")


@pytest.fixture
def slow_python(tmp_path):
    """A Python that starts only when a file appears."""
    gate = tmp_path / "gate"
    script = tmp_path / "python"
    target = os.environ.get("RUST_HYGIENE_PYTHON", "python3")
    script.write_text(f'#!/bin/sh\nwhile [ ! -e "{gate}" ]; do sleep 0.05; done\nexec {target} "$@"\n')
    script.chmod(0o755)
    return script, gate


@ours
def test_kernel_info_is_answered_before_python_has_started(start_kernel, slow_python):
    script, gate = slow_python
    kernel = start_kernel(
        env={"RUST_HYGIENE_PYTHON": str(script)}, argv=python_of_the_environment, wait=False
    )
    kernel.wait_until_ready()
    assert not gate.exists()
    cell = kernel.start("print('ran')")
    gate.touch()
    assert kernel.collect(cell).stdout == "ran\n"


def test_requests_sent_before_the_kernel_listens_are_answered(start_kernel):
    kernel = start_kernel(wait=False)
    cells = [kernel.start(f"{number}") for number in range(3)]
    for cell in cells:
        reply = kernel.take("shell", cell.is_parent_of, "execute_reply")
        assert reply.content["status"] == "ok"
    kernel.wait_until_ready()


def test_kernels_start_one_after_the_other_and_leave_nothing():
    for _ in range(5):
        with Frontend() as kernel:
            assert kernel.execute_ok("1").result == "1"


# --- end


def test_shutdown_ends_the_process_by_itself(start_kernel):
    kernel = start_kernel()
    kernel.shut_down()
    kernel.assert_all_gone()
    kernel.kill()


@ours
def test_shutdown_ends_every_process(start_kernel):
    """Also the children of cells; ipykernel waits 30 s here, and its manager kills it after 5."""
    kernel = start_kernel()
    kernel.execute_ok("import subprocess; jobs = [subprocess.Popen(['sleep', '1000']) for _ in range(3)]")
    assert len(kernel.processes()) >= 4
    kernel.shut_down()
    kernel.assert_all_gone()
    kernel.kill()


def test_shutdown_runs_exit_handlers(start_kernel, tmp_path):
    kernel = start_kernel()
    kernel.execute_ok(f"import atexit; _ = atexit.register(open, {str(tmp_path / 'said-goodbye')!r}, 'w')")
    kernel.shut_down()
    kernel.assert_all_gone()
    kernel.kill()
    assert (tmp_path / "said-goodbye").exists()


def test_the_manager_shuts_a_busy_kernel_down(start_kernel):
    kernel = start_kernel()
    cell = kernel.start("print('running', flush=True)\nimport time; time.sleep(1000)")
    kernel.wait_for_stream(cell, "running\n")
    kernel.manager.shutdown_kernel()
    kernel.assert_all_gone()
    kernel.kill()


@ours
def test_a_cell_that_will_not_end_is_ended_by_shutdown(start_kernel):
    """The front end is told and the process goes, whatever the cell thinks of signals."""
    kernel = start_kernel()
    stubborn = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    cell = kernel.start(stubborn + "print('running', flush=True)\nwhile True: time.sleep(1)")
    kernel.wait_for_stream(cell, "running\n")
    kernel.shut_down()
    kernel.assert_all_gone()
    kernel.kill()


def test_a_restart_keeps_the_ports_and_forgets_the_variables(start_kernel):
    kernel = start_kernel()
    kernel.execute_ok("before = 1")
    before = kernel.manager.get_connection_info(), interpreter_pid(kernel)
    kernel.restart()
    assert kernel.manager.get_connection_info() == before[0]
    assert interpreter_pid(kernel) != before[1]
    assert kernel.execute("before").content["ename"] == "NameError"


def test_a_restart_ends_the_old_processes(start_kernel):
    kernel = start_kernel()
    kernel.execute_ok("import subprocess; job = subprocess.Popen(['sleep', '1000'], stdout=-3, stderr=-3)")
    old = set(kernel.processes())
    kernel.restart()
    deadline = time.monotonic() + PATIENCE
    while old & set(kernel.processes()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_kernel_killed_outright_can_be_restarted(start_kernel):
    kernel = start_kernel()
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.manager.provisioner.process.wait(PATIENCE)
    kernel.restart()
    assert kernel.execute_ok("print('again')").stdout == "again\n"


@ours
def test_what_was_meant_for_the_kernel_before_is_not_done(start_kernel):
    """A manager that restarts a dead kernel has interrupted it and asked it to end; ZeroMQ delivers that to the next one."""
    before = {"date": datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")}
    kernel = start_kernel(wait=False)
    kernel.send("control", "interrupt_request", header=before)
    kernel.send("control", "shutdown_request", {"restart": True}, header=before)
    kernel.wait_until_ready()
    assert kernel.execute_ok("print('here')").stdout == "here\n"
    cell = kernel.start("print('running', flush=True)\nwhile True: pass")
    kernel.wait_for_stream(cell, "running\n")
    kernel.interrupt_by_message()
    assert kernel.collect(cell).content["ename"] == "KeyboardInterrupt"


@pytest.mark.parametrize("outright", ["the front", "its group"])
@ours
def test_nothing_that_a_cell_started_in_its_group_outlives_the_front(start_kernel, outright):
    """As with a kernel of one process, whose group a manager kills."""
    kernel = start_kernel()
    kernel.execute_ok("import subprocess; job = subprocess.Popen(['sleep', '1000'])")
    pid, job = interpreter_pid(kernel), kernel.evaluate("job.pid")
    cell = kernel.start("print('running', flush=True)\nwhile True: pass")
    kernel.wait_for_stream(cell, "running\n")
    assert {pid, job, kernel.pid} == set(kernel.processes())
    if outright == "the front":
        os.kill(kernel.pid, signal.SIGKILL)
    else:
        os.killpg(kernel.pid, signal.SIGKILL)
    kernel.manager.provisioner.process.wait(PATIENCE)
    kernel.assert_all_gone(2)
    kernel.kill()


@ours
def test_what_an_interpreter_left_that_has_ended_is_nobody_elses(start_kernel):
    """The group of an interpreter that was started anew is known, and the one before it forgotten."""
    kernel = start_kernel()
    assert kernel.execute("import os; os._exit(3)").status == "error"
    kernel.execute_ok("import subprocess; job = subprocess.Popen(['sleep', '1000'])")
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.manager.provisioner.process.wait(PATIENCE)
    kernel.assert_all_gone(2)
    kernel.kill()


# --- death of the interpreter

DEATHS = {
    "killed": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "abort": ("import os; os.abort()", "SIGABRT"),
    "terminated": (
        "import os, signal, time; signal.signal(15, signal.SIG_DFL); os.kill(os.getpid(), 15); time.sleep(1000)",
        "SIGTERM",
    ),
    "exit code": ("import os; os._exit(37)", "37"),
}


@ours
@pytest.mark.parametrize("name", DEATHS)
def test_the_death_of_the_interpreter_is_told_and_survived(kernel, name):
    code, reason = DEATHS[name]
    kernel.execute_ok("lost = 1")
    before = interpreter_pid(kernel)
    exchange = kernel.execute(code)
    (error,) = exchange.of("error")
    assert exchange.status == "error"
    for said in (error.content, exchange.content):
        assert reason in said["evalue"]
        assert reason in "".join(said["traceback"])
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"
    assert interpreter_pid(kernel) != before
    assert kernel.execute("lost", stop_on_error=False).content["ename"] == "NameError"


@ours
def test_what_was_printed_before_the_death_is_not_lost(kernel):
    code = "import os\nfor i in range(1000): print(i)\nos.write(1, b'last words\\n')\nos.kill(os.getpid(), 9)"
    assert kernel.execute(code).stdout == "".join(f"{i}\n" for i in range(1000)) + "last words\n"


@ours
def test_counts_go_on_after_the_death(kernel):
    dead = kernel.execute("import os; os._exit(1)").content["execution_count"]
    assert kernel.execute_ok("1").content["execution_count"] == dead + 1


@ours
def test_cells_queued_behind_a_death_are_aborted(kernel):
    dying = kernel.start("import os, time; time.sleep(0.5); os._exit(1)")
    behind = [kernel.start("print('must not run')") for _ in range(3)]
    assert kernel.collect(dying).status == "error"
    assert [kernel.collect(cell).status for cell in behind] == ["aborted"] * 3
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


@ours
def test_a_death_between_cells_is_survived(kernel):
    os.kill(interpreter_pid(kernel), signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    # A cell sent at this very moment may still meet the dying interpreter.
    while kernel.execute("print('alive')", stop_on_error=False).status != "ok":
        assert time.monotonic() < deadline
    kernel.execute_ok("pass")


@ours
def test_every_request_in_the_air_is_answered_at_a_death(kernel):
    """Completion waits for the cell; both get an answer."""
    dying = kernel.start("import os, time; time.sleep(0.5); os._exit(1)")
    asked = kernel.send("shell", "complete_request", {"code": "isinst", "cursor_pos": 6})
    listed = kernel.send("shell", "comm_info_request", {})
    assert kernel.collect(dying).status == "error"
    for request in (asked, listed):
        assert kernel.collect(request).status in ("ok", "error", "aborted")
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


@ours
def test_ten_deaths_in_a_row_are_survived(kernel):
    for _ in range(10):
        assert kernel.execute("import os; os._exit(1)", stop_on_error=False).status == "error"
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


@ours
def test_no_old_process_stays_after_a_death(kernel):
    kernel.execute_ok("import subprocess; job = subprocess.Popen(['sleep', '1000'])")
    job = kernel.evaluate("job.pid")
    kernel.execute("import os; os._exit(1)", stop_on_error=False)
    deadline = time.monotonic() + PATIENCE
    while job in kernel.processes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kernel.execute_ok("pass")


# --- answers while Python cannot answer

HOLD_THE_GIL = "print('holding', flush=True)\nimport ctypes; _ = ctypes.PyDLL(None).usleep(2_000_000)"
PROBES = 20


@ours
def test_control_is_answered_while_a_cell_holds_the_gil(kernel):
    """All probes must be answered before the reply of the cell, which comes after the GIL is let go."""
    cell = kernel.start(HOLD_THE_GIL)
    kernel.wait_for_stream(cell, "holding\n")
    for _ in range(PROBES):
        assert kernel.request("control", "kernel_info_request").status == "ok"
    assert not [m for m in kernel.unread["shell"] if m.answers(cell)], "the cell was faster"
    assert kernel.collect(cell).status == "ok"


@ours
def test_the_heartbeat_is_echoed_while_a_cell_holds_the_gil(kernel):
    heart = kernel.manager.connect_hb()
    heart.rcvtimeo = PATIENCE * 1000
    cell = kernel.start(HOLD_THE_GIL)
    kernel.wait_for_stream(cell, "holding\n")
    for number in range(PROBES):
        heart.send(b"beat %d" % number)
        assert heart.recv() == b"beat %d" % number
    kernel.pump(0)
    assert not [m for m in kernel.unread["shell"] if m.answers(cell)], "the cell was faster"
    heart.close(linger=0)
    assert kernel.collect(cell).status == "ok"


def test_the_heartbeat_echoes_any_bytes(kernel):
    heart = kernel.manager.connect_hb()
    heart.rcvtimeo = PATIENCE * 1000
    for beat in (b"ping", b"", b"\0\xff" * 500):
        heart.send(beat)
        assert heart.recv() == beat
    heart.close(linger=0)


@ours
def test_usage_is_told_while_a_cell_holds_the_gil(kernel):
    cell = kernel.start(HOLD_THE_GIL)
    kernel.wait_for_stream(cell, "holding\n")
    assert kernel.request("control", "usage_request").content["kernel_memory"] > 0
    assert not [m for m in kernel.unread["shell"] if m.answers(cell)], "the cell was faster"
    assert kernel.collect(cell).status == "ok"


def test_the_kernel_under_test_is_the_one_asked_for(kernel):
    implementation = kernel.request("shell", "kernel_info_request").content["implementation"]
    assert implementation == ("ipython" if KERNEL == "python3" else "rust-hygiene")
