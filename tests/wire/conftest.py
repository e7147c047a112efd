"""Fixtures for the tests of the wire."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from clients import Client, Kernel


@pytest.fixture
def kernel(tmp_path):
    echo = Kernel(tmp_path)
    yield echo
    assert echo.process.poll() is None, f"the kernel died: {echo.log.read_text()}"
    echo.stop()


@pytest.fixture
def connect(kernel):
    clients = []

    def make(**options) -> Client:
        clients.append(Client(kernel, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(connect):
    return connect()
