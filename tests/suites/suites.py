"""Which suites are run, where they come from, and what may fail with our kernel alone."""

from dataclasses import dataclass, field


@dataclass
class Suite:
    """Test modules of a project's source distribution."""

    sdist: str  # project==version
    members: tuple  # what is unpacked: the package itself comes from the environment
    modules: tuple  # each runs in a process of its own
    ini: dict = field(default_factory=dict)
    env: dict = field(default_factory=dict)
    plugins: tuple = ()  # of pytest, which all others do without
    deselect: tuple = ()  # no kernel of a kernelspec is what they test
    seconds: int = 600  # for one module
    # test: why it fails with our kernel and not with ipykernel. One that no longer does is an error too. `*` at the end stands for
    # the rest of a name; without it a name stands for all its parameters.
    exceptions: dict = field(default_factory=dict)

    @property
    def name(self):
        """The project's name."""
        return self.sdist.partition("==")[0]


_AUTO = {"asyncio_mode": "auto"}

SUITES = [
    Suite(
        "ipykernel==7.4.0",
        members=("tests/",),
        modules=(
            "tests/test_message_spec.py",
            "tests/test_kernel.py",
            "tests/test_async.py",
            "tests/test_subshells.py",
            "tests/test_debugger.py",
        ),
        ini=_AUTO,
        deselect=(
            "tests/test_kernel.py::test_help_output",  # the command line of ipykernel
            "tests/test_debugger.py::test_convert_to_long_pathname",  # a function of ipykernel
        ),
        exceptions={
            "tests/test_message_spec.py::test_kernel_info_request": "asks for an implementation_version above 2.1",
            "tests/test_kernel.py::test_parent_header_and_ident": "asks for the parent of the control channel, which Python never sees",
        },
    ),
    Suite(
        "jupyter_kernel_test==0.7.0",
        members=("test_ipykernel.py",),
        modules=("test_ipykernel.py",),
    ),
    Suite(
        "jupyter_client==8.10.0",
        members=("tests/",),
        modules=(
            "tests/test_client.py",
            "tests/test_kernelmanager.py",
            "tests/test_multikernelmanager.py",
            "tests/test_restarter.py",
            "tests/test_provisioning.py",
            "tests/test_manager.py",
            "tests/test_consoleapp.py",
            "tests/test_kernelapp.py",
            "tests/test_runapp.py",
            "tests/test_transport_security.py",
        ),
        ini=_AUTO,
        exceptions={
            f"tests/test_kernelmanager.py::{kind}KernelManager::test_subclass_callables": "counts signals; our kernelspec asks for interrupts by message"
            for kind in ("Test", "TestAsync")
        },
    ),
    Suite(
        "nbclient==0.11.0",
        members=("tests/",),
        modules=("tests/test_client.py", "tests/test_cli.py", "tests/test_util.py"),
        ini=_AUTO,
        seconds=900,
        exceptions={
            f"tests/test_client.py::TestExecute::{name}": "a cell ends the interpreter: the kernel lives and reports it as the cell's error"
            for name in ("test_kernel_death_during_execution", "test_error_notebook_hook")
        },
    ),
    Suite(
        "nbconvert==7.17.2",
        members=("tests/",),
        modules=("tests/preprocessors/test_execute.py", "tests/test_nbconvertapp.py"),
    ),
    Suite(
        "nbval==0.11.0",
        members=("tests/",),
        modules=(
            "tests/test_plugin.py",
            "tests/test_collect.py",
            "tests/test_coverage.py",
            "tests/test_nbdime_reporter.py",
            "tests/test_ignore.py",
            "tests/test_timeouts.py",
            "tests/test_unit_tests_in_notebooks.py",
        ),
        plugins=("nbval",),
    ),
    Suite(
        "papermill==2.7.0",
        members=("papermill/",),
        modules=tuple(
            f"papermill/tests/test_{name}.py"
            for name in ("execute", "engines", "autosave", "cli", "clientwrap", "inspect", "parameterize")
        ),
    ),
    Suite(
        "jupyter_server==2.21.1",
        members=("tests/",),
        modules=(
            "tests/services/kernels/test_api.py",
            "tests/services/kernels/test_connection.py",
            "tests/services/kernels/test_cull.py",
            "tests/services/kernels/test_events.py",
            "tests/services/kernels/test_execution_state.py",
            "tests/services/kernels/test_restart_error.py",
            "tests/services/kernels/test_transport_encryption.py",
            "tests/services/kernelspecs/test_api.py",
            "tests/services/nbconvert/test_api.py",
            "tests/services/sessions/test_manager.py",
            "tests/nbconvert/test_handlers.py",
            "tests/services/sessions/test_api.py",
        ),
        exceptions={
            "tests/services/kernels/test_transport_encryption.py::test_transport_encryption_provisions_curve_keys": "CurveZMQ is not spoken, and not advertised"
        },
    ),
    Suite(
        "jupyter_console==6.6.3",
        members=("jupyter_console/tests/",),
        modules=("jupyter_console/tests/test_console.py",),
        env={"TERM": "xterm"},
    ),
    Suite(
        "nbmake==1.5.5",
        members=("tests/",),
        modules=("tests/test_nb_run.py", "tests/test_pytest_plugin.py"),
    ),
    Suite(
        "pytest_notebook==0.11.0",
        members=("tests/",),
        modules=tuple(
            f"tests/test_{name}.py"
            for name in ("execution", "nb_regression", "plugin_collector", "plugin_fixture", "ipy_magic")
        ),
        plugins=("nb_regression",),
    ),
]
