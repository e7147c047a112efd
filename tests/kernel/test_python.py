"""Which Python runs the cells."""

import pytest

pytestmark = pytest.mark.ours


def test_cells_run_in_the_python_that_the_kernelspec_names(kernel):
    argv = kernel.manager.kernel_spec.argv
    assert kernel.evaluate("__import__('sys').executable") == argv[argv.index("--python") + 1]


def test_looking_for_garbage_leaves_what_modules_in_c_keep_for_later_alone(kernel):
    """`_asyncio` of Python 3.12 shows the collector iterators that are free."""
    kernel.execute_ok("import asyncio\nfor _ in range(20): await asyncio.sleep(0.001)")
    kernel.execute_ok("for _ in range(3): get_ipython().kernel.facts.leftovers(bool)")
    assert kernel.execute_ok("await asyncio.sleep(0.001, 5)").result == "5"
