"""`rust-hygiene colab`: Google Colab's calls to its local runtime, replayed with its Origin, down to a badge.

Colab's page itself cannot be had here; docs/colab.md says what is known of it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import websocket
from jupyter_client.kernelspec import KernelSpecManager

from frontend import KERNEL, PATIENCE
from jupyter import Channels, Server, free_port
from record import record_of

pytestmark = pytest.mark.ours

ORIGIN = "https://colab.research.google.com"
# A notebook of Colab's has no file on this machine.
NOTEBOOK = "/fileId=https%3A%2F%2Fcolab.research.google.com%2Fdrive%2F1AbC"
ALLOW_ROOT = ["--allow-root"] if os.geteuid() == 0 else []


def colab(*options, server_options=()):
    program = KernelSpecManager().get_kernel_spec(KERNEL).argv[0]
    return [program, "colab", "--python", sys.executable, *options, "--", *ALLOW_ROOT, *server_options]


@contextmanager
def running(folder, env=None):
    """The command, ready: it has told its URL."""
    port = free_port()
    with Server(colab("--port", str(port)), folder, port, None, env) as server:
        deadline = time.monotonic() + PATIENCE
        while not (told := re.search(r"http://localhost:(\d+)/\?token=(\S+)", server.output.read_text())):
            assert server.process.poll() is None and time.monotonic() < deadline, server.situation()
            time.sleep(0.05)
        assert int(told[1]) == port
        server.token = told[2]
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("colab")) as server:
        yield server


@pytest.fixture
def channels(server):
    """A notebook of Colab's, connected."""
    url = f"/api/sessions?token={server.token}"
    wanted = {"path": NOTEBOOK, "name": NOTEBOOK, "type": "notebook", "kernel": {"name": "python3"}}
    answer = server.http("POST", url, wanted, Origin=ORIGIN, Content_Type="application/json")
    assert answer.status == 201, (answer, server.situation())
    assert_let_in(answer)
    with Channels(server, answer.json["kernel"]["id"], ORIGIN) as channels:
        yield channels
    answer = server.http("DELETE", f"/api/sessions/{answer.json['id']}?token={server.token}", Origin=ORIGIN)
    assert answer.status == 204


def assert_let_in(answer):
    """A browser lets the page read the answer."""
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"


# --- what the page asks before there is a kernel


@pytest.mark.parametrize(
    "path", ["/api", "/api/kernelspecs", "/api/sessions", "/api/contents", "/api/kernels"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_question_before_a_request_is_answered(server, path, method):
    """The browser asks it by itself, without a token, and adds the last header for an address of this machine."""
    asked = {
        "Origin": ORIGIN,
        "Access_Control_Request_Method": method,
        "Access_Control_Request_Headers": "authorization,content-type",
        "Access_Control_Request_Private_Network": "true",
    }
    answer = server.http("OPTIONS", path, **asked)
    assert answer.status in (200, 204)
    assert_let_in(answer)
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert "content-type" in allowed and "authorization" in allowed


def test_the_page_finds_a_jupyter_and_us_as_python3(server):
    about = server.http("GET", f"/api?token={server.token}", Origin=ORIGIN)
    assert about.status == 200 and about.json["version"]
    assert_let_in(about)
    answer = server.http("GET", "/api/kernelspecs", Origin=ORIGIN, Authorization=f"token {server.token}")
    assert_let_in(answer)
    specs = answer.json["kernelspecs"]
    for name in ("python3", "rust-hygiene"):
        assert specs[name]["spec"]["display_name"] == "Rust-Hygiene Python"
    assert specs["python3"]["spec"]["argv"] == specs["rust-hygiene"]["spec"]["argv"]


def test_what_only_googles_own_server_has_is_plainly_absent(server):
    answer = server.http("GET", f"/api/colab/build-info?token={server.token}", Origin=ORIGIN)
    assert answer.status == 404


def test_nobody_comes_in_without_the_token(server):
    for path in ("/api/kernelspecs", "/api/sessions", "/api/kernelspecs?token=guessed"):
        assert server.http("GET", path, Origin=ORIGIN).status == 403


def test_another_web_page_is_kept_out(server, channels):
    """Even when the person's browser has the server's cookie: the browser sends it along, and the page's Origin."""
    answer = server.http("GET", f"/api/kernelspecs?token={server.token}", Origin="https://evil.example")
    assert answer.headers.get("access-control-allow-origin") in (None, ORIGIN)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    kernel_id = channels.kernel_id
    url = f"ws://localhost:{server.port}/api/kernels/{kernel_id}/channels"
    websocket.create_connection(url, cookie=cookie, origin=ORIGIN, timeout=PATIENCE).close()
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(url, cookie=cookie, origin="https://evil.example", timeout=PATIENCE)


# --- a notebook

OPTIONS = {"colab_options": {"build_tag": "x", "include_colab_metadata": True, "output_target": None}}


def test_a_cell_of_colab_gets_its_output_and_a_badge(channels):
    content = {"code": "print('ran')\nheld = bytearray(50_000_000)", "silent": False, "store_history": True}
    content |= {"user_expressions": {}, "allow_stdin": True, "stop_on_error": True, **OPTIONS}
    metadata = {**OPTIONS, "cellId": "aBcDeF12"}
    request = channels.send("shell", "execute_request", content, metadata, **OPTIONS)
    exchange = channels.collect(request)
    assert exchange.status == "ok" and exchange.stdout == "ran\n"
    (badge,) = exchange.of("display_data")
    # Only what a page without our extension can show.
    assert re.search(r"RAM \+4[78]", badge.content["data"]["text/plain"]), badge
    assert "held" in badge.content["data"]["text/html"]
    assert [one["name"] for one in record_of(exchange)["variables"]] == ["held"]


def badges_without_a_session(server):
    kernel_id = server.api("POST", "kernels", {"name": "python3"})["id"]
    with Channels(server, kernel_id, ORIGIN) as channels:
        return channels.execute("held = bytearray(50_000_000)").of("display_data")


def test_a_kernel_without_a_session_shows_badges_too(server):
    (badge,) = badges_without_a_session(server)
    assert "RAM" in badge.content["data"]["text/plain"]


def test_whoever_wants_no_badges_gets_none(tmp_path):
    with running(tmp_path, env={"RUST_HYGIENE_BADGE": "off"}) as server:
        assert badges_without_a_session(server) == []


def test_every_request_may_carry_more_than_the_protocol_has(channels):
    contents = {
        "kernel_info_request": {},
        "complete_request": {"code": "prin", "cursor_pos": 4},
        "inspect_request": {"code": "print", "cursor_pos": 5, "detail_level": 0},
        "is_complete_request": {"code": "1"},
        "history_request": {"hist_access_type": "tail", "n": 1},
        "comm_info_request": {},
    }
    for kind, content in contents.items():
        request = channels.send("shell", kind, {**content, **OPTIONS}, OPTIONS, **OPTIONS)
        wanted = "complete" if kind == "is_complete_request" else "ok"
        assert channels.collect(request).status == wanted, kind


def test_a_cell_asks_and_is_answered(channels):
    """Dictionaries on this channel are Colab's own talk, and no answer to a person's question."""
    talk = {"type": "colab_reply", "colab_msg_id": 7, "data": None}
    channels.send("stdin", "input_reply", {"value": talk})
    cell = channels.send("shell", "execute_request", {"code": "print(input('Name? '))", "allow_stdin": True})
    question = channels.take(lambda m: m.channel == "stdin", "a question")
    assert question.content == {"prompt": "Name? ", "password": False}
    channels.send("stdin", "input_reply", {"value": talk, **OPTIONS}, OPTIONS)
    channels.send("stdin", "input_reply", {"value": "Ada", **OPTIONS}, OPTIONS)
    assert channels.collect(cell).stdout == "Ada\n"


def test_probes_leave_no_trace(channels):
    """What a front end asks for itself: no badge, no number, whatever the memory does."""
    before = channels.execute("1").reply.content["execution_count"]
    for fields in ({"silent": True}, {"store_history": False}, {"silent": True, "store_history": True}):
        exchange = channels.execute("probe = bytearray(50_000_000)", **fields)
        assert exchange.status == "ok" and not exchange.of("display_data"), fields
    assert channels.execute("1").reply.content["execution_count"] == before + 1


def test_a_widget_can_be_moved(channels):
    code = "import ipywidgets\nslider = ipywidgets.IntSlider()\nslider"
    opened = channels.execute(code).of("comm_open")
    (model,) = [m for m in opened if m.content["data"]["state"]["_model_name"] == "IntSliderModel"]
    data = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
    channels.send("shell", "comm_msg", {"comm_id": model.content["comm_id"], "data": data}, OPTIONS)
    assert channels.execute("slider.value").result == "7"


def test_a_cell_is_interrupted_and_the_kernel_restarted(server, channels):
    kernel_id = channels.kernel_id
    cell = channels.send("shell", "execute_request", {"code": "print('on', flush=True)\nwhile True: pass"})
    channels.take(lambda m: m.type == "stream", "a sign of life")
    url = f"/api/kernels/{kernel_id}"
    assert server.http("POST", f"{url}/interrupt?token={server.token}", Origin=ORIGIN).status == 204
    assert channels.collect(cell).reply.content["ename"] == "KeyboardInterrupt"
    channels.execute("lost = 1")
    assert server.http("POST", f"{url}/restart?token={server.token}", Origin=ORIGIN).status == 200
    assert channels.execute("lost").reply.content["ename"] == "NameError"


# --- start and end


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_end_leaves_nothing_behind(tmp_path, name):
    """Ctrl-C, a polite kill, a closed terminal, in the middle of a cell that has children."""
    with running(tmp_path) as server:
        session = server.open_session(NOTEBOOK, "python3")
        with Channels(server, session["kernel"]["id"], ORIGIN) as channels:
            code = "import subprocess\njob = subprocess.Popen(['sleep', '1000'])\nprint('on', flush=True)\nwhile True: pass"
            channels.send("shell", "execute_request", {"code": code})
            channels.take(lambda m: m.type == "stream", "a sign of life")
            assert len(server.processes()) >= 5  # we, the server, the kernel, its Python, the child
            server.process.send_signal(getattr(signal, name))
            assert server.process.wait(PATIENCE) == 0, server.situation()
        server.assert_all_gone()
        assert not list((tmp_path / "tmp").glob("rust-hygiene-colab-*"))


def test_the_server_does_not_outlive_a_command_that_is_killed(tmp_path):
    with running(tmp_path) as server:
        server.open_session(NOTEBOOK, "python3")
        server.process.kill()
        server.process.wait()
        server.assert_all_gone()


def test_a_server_that_dies_is_told(tmp_path):
    with running(tmp_path) as server:
        pid = server.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        assert server.process.wait(PATIENCE) == 1
        assert "the Jupyter server has ended" in server.log.read_text()
        server.assert_all_gone()


def test_a_variable_fixes_the_token(tmp_path):
    with running(tmp_path, env={"JUPYTER_TOKEN": "always-the-same"}) as server:
        assert server.token == "always-the-same"
        server.api("GET", "kernelspecs")
        # and cells do not see it
        session = server.open_session(NOTEBOOK, "python3")
        with Channels(server, session["kernel"]["id"]) as channels:
            assert channels.execute("import os; 'JUPYTER_TOKEN' in os.environ").result == "False"


def refusal(tmp_path, *options, env=None):
    """What is said by a command that does not start."""
    port = free_port()
    with Server(colab("--port", str(port), *options), tmp_path, port, None, env) as server:
        assert server.process.wait(PATIENCE) == 1, server.situation()
        server.assert_all_gone()
        return server.log.read_text()


def test_a_token_in_the_persons_configuration_is_told(tmp_path):
    folder = tmp_path / "jupyter-config"
    folder.mkdir()
    settings = {"IdentityProvider": {"token": "mine"}}
    (folder / "jupyter_server_config.json").write_text(json.dumps(settings))
    assert "IdentityProvider.token" in refusal(tmp_path)


def test_kernels_that_the_configuration_hides_are_told(tmp_path):
    folder = tmp_path / "jupyter-config"
    folder.mkdir()
    settings = {"KernelSpecManager": {"allowed_kernelspecs": ["python3"]}}
    (folder / "jupyter_server_config.json").write_text(json.dumps(settings))
    assert "does not offer this kernel as rust-hygiene" in refusal(tmp_path)


def test_a_python_without_jupyter_is_told(tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    said = refusal(tmp_path, "--jupyter", str(bare))
    assert f"{bare}/bin/python3 has no jupyter_server" in said and "pip install jupyter_server" in said
