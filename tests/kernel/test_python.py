"""Which Python runs the cells."""

import pytest

pytestmark = pytest.mark.ours


def test_cells_run_in_the_python_that_the_kernelspec_names(kernel):
    argv = kernel.manager.kernel_spec.argv
    assert kernel.evaluate("__import__('sys').executable") == argv[argv.index("--python") + 1]
