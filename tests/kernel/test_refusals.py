"""Starts that cannot succeed say why, in words that help: a bad connection file, a Python without IPython."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.kernelspec import get_kernel_spec

from frontend import KERNEL, PATIENCE
from test_lifecycle import python_of_the_environment

pytestmark = pytest.mark.ours


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def connection():
    names = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
    return {
        **dict(zip(names, free_ports(5), strict=True)),
        "ip": "127.0.0.1",
        "transport": "tcp",
        "key": "secret-key-never-to-be-shown",
        "signature_scheme": "hmac-sha256",
        "kernel_name": KERNEL,
    }


def launch(connection_file):
    """The kernelspec's own command line; it must end by itself."""
    argv = [word.format(connection_file=connection_file) for word in get_kernel_spec(KERNEL).argv]
    return subprocess.run(
        argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )


def refusal(connection_file):
    ended = launch(connection_file)
    assert ended.returncode not in (0, 101), f"exit code {ended.returncode}: {ended.stderr}"
    assert "panicked" not in ended.stderr
    assert "secret-key-never-to-be-shown" not in ended.stderr + ended.stdout
    return ended.stderr


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "kernel-connection.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.mark.parametrize(
    "field", ["shell_port", "iopub_port", "stdin_port", "control_port", "hb_port", "key", "ip"]
)
def test_a_missing_field_is_named(written, field):
    content = connection()
    del content[field]
    path = written(content)
    said = refusal(path)
    assert field in said and str(path) in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shell_port", "many"),
        ("hb_port", 70000),
        ("ip", 5),
        ("signature_scheme", "hmac-md4"),
        ("transport", "smoke"),
    ],
)
def test_a_wrong_field_is_named(written, field, value):
    path = written({**connection(), field: value})
    said = refusal(path)
    assert str(value) in said or field in said
    assert str(path) in said


@pytest.mark.parametrize("field", ["curve_publickey", "curve_secretkey"])
def test_encryption_is_refused_rather_than_left_out(written, field):
    said = refusal(written({**connection(), field: "x" * 40}))
    assert "curve" in said.lower()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "not json", "\ufeff\0"])
def test_a_file_that_is_no_json_object_is_named(written, content):
    path = written(content)
    assert str(path) in refusal(path)


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "no-such-file.json"
    assert str(path) in refusal(path)


def test_a_port_in_use_is_named(written):
    content = connection()
    with socket.create_server(("127.0.0.1", content["iopub_port"])):
        assert str(content["iopub_port"]) in refusal(written(content))


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A virtual environment with nothing in it."""
    home = tmp_path_factory.mktemp("bare") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    return home / "bin" / "python"


def test_a_python_without_ipython_is_named_with_the_command_that_helps(start_kernel, bare_python):
    kernel = start_kernel(env={"RUST_HYGIENE_PYTHON": str(bare_python)}, argv=python_of_the_environment)
    for _ in range(2):
        exchange = kernel.execute("1 + 1")
        said = exchange.content["evalue"] + "".join(exchange.content["traceback"])
        assert exchange.status == "error"
        assert str(bare_python) in said
        assert "pip install" in said and "ipython" in said.lower()
        assert [m.content["evalue"] for m in exchange.of("error")] == [exchange.content["evalue"]]


def test_a_python_that_does_not_exist_is_named(start_kernel, tmp_path):
    missing = tmp_path / "no-such-python"
    kernel = start_kernel(env={"RUST_HYGIENE_PYTHON": str(missing)}, argv=python_of_the_environment)
    exchange = kernel.execute("1 + 1")
    assert exchange.status == "error"
    assert str(missing) in exchange.content["evalue"] + "".join(exchange.content["traceback"])


def test_a_python_that_is_no_python_is_told(start_kernel, tmp_path):
    impostor = tmp_path / "python"
    impostor.write_text("#!/bin/sh\necho 'I am no Python' >&2\nexit 3\n")
    os.chmod(impostor, 0o755)
    kernel = start_kernel(env={"RUST_HYGIENE_PYTHON": str(impostor)}, argv=python_of_the_environment)
    exchange = kernel.execute("1 + 1")
    assert exchange.status == "error"
    said = exchange.content["evalue"] + "".join(exchange.content["traceback"])
    assert str(impostor) in said or "3" in said


def test_unknown_arguments_of_a_kernelspec_are_accepted(start_kernel):
    """nbclient appends an option of IPython's to every kernel that is named python3."""
    kernel = start_kernel(argv=lambda argv: [*argv, "--HistoryManager.hist_file=:memory:"])
    assert kernel.execute_ok("1 + 1").result == "2"


def test_the_binary_is_what_the_kernelspec_says():
    spec = get_kernel_spec(KERNEL)
    assert Path(spec.argv[0]).name.startswith("rust-hygiene")
    assert spec.interrupt_mode == "message"
    assert spec.language == "python"
