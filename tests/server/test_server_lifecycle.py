"""A kernel's life under a real Jupyter server: names it is given, restarts, culling, and ends that nobody planned."""

import os
import signal
import time

import pytest

from frontend import KERNEL, PATIENCE
from jupyter import Channels, start_server

ours = pytest.mark.ours

# Long enough that no page connects too late for it.
CULLED_AFTER = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    options = [
        f"--MappingKernelManager.cull_idle_timeout={CULLED_AFTER}",
        "--MappingKernelManager.cull_interval=1",
    ]
    with start_server(tmp_path_factory.mktemp("server"), *options) as server:
        yield server


@pytest.fixture
def session(server):
    session = server.open_session("folder/notebook.ipynb", KERNEL)
    yield session
    server.api("DELETE", f"sessions/{session['id']}")


@pytest.fixture
def channels(server, session):
    with Channels(server, session["kernel"]["id"]) as channels:
        yield channels


def until(condition, what, server):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}; {server.situation()}"
        time.sleep(0.05)


def test_the_name_of_the_notebook_reaches_the_cells(channels):
    """As documented for `JPY_SESSION_NAME`; IPython's `__session__` is the same."""
    asked = "import os; (os.path.basename(os.environ['JPY_SESSION_NAME']), __session__ == os.environ['JPY_SESSION_NAME'])"
    assert channels.execute(asked).result == "('notebook.ipynb', True)"


@ours
def test_a_server_is_a_place_for_badges(channels):
    exchange = channels.execute("held = bytearray(50_000_000)")
    (badge,) = exchange.of("display_data")
    assert "RAM" in badge.content["data"]["text/plain"]


PORTS = """
import json
from ipykernel.connect import get_connection_file
info = json.load(open(get_connection_file()))
sorted((name, value) for name, value in info.items() if name.endswith('_port') or name == 'key')
"""


def test_a_restart_keeps_the_ports_and_the_connection_and_forgets_the_variables(server, session, channels):
    before = channels.execute(PORTS).result
    server.api("POST", f"kernels/{session['kernel']['id']}/restart")
    assert channels.execute(PORTS).result == before
    server.api("POST", f"kernels/{session['kernel']['id']}/restart")
    assert channels.execute("info").reply.content["ename"] == "NameError"
    (listed,) = [one for one in server.api("GET", "sessions") if one["id"] == session["id"]]
    assert listed["kernel"]["id"] == session["kernel"]["id"]


def test_an_interrupt_from_the_server_ends_the_cell_and_not_the_kernel(server, session, channels):
    channels.execute("kept = 1")
    cell = channels.send("shell", "execute_request", {"code": "print('on', flush=True)\nwhile True: pass"})
    channels.take(lambda m: m.type == "stream", "a sign of life")
    server.api("POST", f"kernels/{session['kernel']['id']}/interrupt")
    assert channels.collect(cell).reply.content["ename"] == "KeyboardInterrupt"
    assert channels.execute("kept").result == "1"


@ours
def test_the_server_starts_a_kernel_that_was_killed_again(server, channels):
    """And the page that was connected goes on with it."""
    front = int(channels.execute("import os; os.getppid()").result)
    os.kill(front, signal.SIGKILL)
    channels.take(lambda m: m.is_status("restarting"), "news of the restart")
    until(lambda: front not in server.processes(), "the killed kernel is still there", server)
    deadline = time.monotonic() + PATIENCE
    while True:  # what is asked while nobody listens is lost
        request = channels.send("shell", "kernel_info_request", {})
        if channels.wait(
            lambda m, request=request: request.is_parent_of(m) and m.is_status("idle"), seconds=1
        ):
            break
        assert time.monotonic() < deadline, server.situation()
    assert channels.execute("'front' in globals()").result == "False"


def test_an_idle_kernel_is_culled_and_a_busy_one_is_not(server, tmp_path):
    """Both are alone. That the idle one is culled proves that the other one was looked at as well."""
    gate = tmp_path / "gate"
    busy, idle = (server.open_session(f"{name}.ipynb", KERNEL)["kernel"]["id"] for name in ("busy", "idle"))
    code = f"import os, time\nprint(os.getpid(), flush=True)\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)"
    with Channels(server, busy) as channels:
        channels.send("shell", "execute_request", {"code": code})
        said = channels.take(lambda m: m.type == "stream", "a sign of life")
    pid = int(said.content["text"])

    def alive():
        return {one["id"] for one in server.api("GET", "kernels")}

    until(lambda: idle not in alive(), "an idle kernel is not culled", server)
    assert busy in alive()
    gate.touch()
    until(lambda: busy not in alive(), "a kernel that has finished is not culled", server)
    until(lambda: pid not in server.processes(), "the interpreter of a culled kernel lives on", server)


def test_a_kernel_does_not_outlive_a_server_that_is_killed(tmp_path):
    """The server tells its pid as `JPY_PARENT_PID` and has no chance to end anything."""
    with start_server(tmp_path) as server:
        kernel_id = server.open_session("left.ipynb", KERNEL)["kernel"]["id"]
        with Channels(server, kernel_id) as channels:
            code = "import os; print(os.environ['JPY_PARENT_PID'], flush=True)\nwhile True: pass"
            channels.send("shell", "execute_request", {"code": code})
            said = channels.take(lambda m: m.type == "stream", "a sign of life")
            assert int(said.content["text"]) == server.process.pid
            server.process.kill()
            server.process.wait()
            server.assert_all_gone()


def test_a_server_that_ends_takes_its_kernels_along(tmp_path):
    with start_server(tmp_path) as server:
        for name in ("one", "two"):
            kernel_id = server.open_session(f"{name}.ipynb", KERNEL)["kernel"]["id"]
            with Channels(server, kernel_id) as channels:
                assert channels.execute("1 + 1").result == "2"
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
        server.assert_all_gone()
