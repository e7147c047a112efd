"""The public suite jupyter_kernel_test with every optional feature switched on."""

import jupyter_kernel_test as suite

from frontend import KERNEL


class TestKernel(suite.KernelTests):
    kernel_name = KERNEL
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('trouble', file=sys.stderr)"
    completion_samples = (
        {"text": "zi", "matches": {"zip"}},
        {"text": "isinst", "matches": {"isinstance"}},
        {"text": "import itertoo", "matches": {"itertools"}},
        {"text": "%%timei", "matches": {"%%timeit"}},
        {"text": "'text'.casef"},
    )
    complete_code_samples = (
        "1",
        "print('done')",
        "def f():\n    return 1\n\n",
        "%matplotlib inline",
        "await x",
        "!ls",
    )
    incomplete_code_samples = (
        "print('''open",
        "def f():",
        "for i in x:",
        "(1,",
        "%%bash",
        "if True:\n    pass",
    )
    invalid_code_samples = ("import = 1", "x = )", "1a = 2", "return = 3")
    code_page_something = "zip?"
    code_generate_error = "raise RuntimeError('on purpose')"
    code_execute_result = (
        {"code": "1+2+3", "result": "6"},
        {"code": "[n * n for n in range(4)]", "result": "[0, 1, 4, 9]"},
        {"code": "'1' '2'", "result": "'12'"},
        {"code": "from IPython.display import HTML; HTML('<b>b</b>')", "mime": "text/html"},
    )
    code_display_data = (
        {"code": "from IPython.display import HTML; display(HTML('<b>b</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math; display(Math('x^2'))", "mime": "text/latex"},
        {"code": "from IPython.display import Markdown; display(Markdown('*m*'))", "mime": "text/markdown"},
        {"code": "from IPython.display import JSON; display(JSON({'a': 1}))", "mime": "application/json"},
        {"code": "from IPython.display import SVG; display(SVG('<svg/>'))", "mime": "image/svg+xml"},
        {
            "code": "from IPython.display import Javascript; display(Javascript('1'))",
            "mime": "application/javascript",
        },
        {"code": "display({'application/x-own': 'data'}, raw=True)", "mime": "application/x-own"},
    )
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    def execute_helper(self, code, timeout=60, **options):
        """The suite's patience of 15 s is too short for a busy machine."""
        return super().execute_helper(code, timeout=timeout, **options)

    def history_helper(self, execute_first, timeout=60, **asked):
        """IPython gives the current session the number 0 in a range, where the suite expects the number it asked for."""
        reply = super().history_helper(execute_first, timeout=timeout, **asked)
        if asked["hist_access_type"] == "range":
            history = reply["content"]["history"]
            reply["content"]["history"] = [
                [session or asked["session"], line, text] for session, line, text in history
            ]
        return reply


class TestIopubWelcome(suite.IopubWelcomeTests):
    kernel_name = KERNEL
    support_iopub_welcome = True


# The bases would be collected as well, with all their features off.
del suite


def test_no_feature_of_the_public_suite_is_switched_off():
    """A new version of the suite may bring an option that we do not know yet: its default means "skip"."""
    bases = (*TestKernel.__bases__, *TestIopubWelcome.__bases__)
    options = {
        name
        for base in bases
        for name, value in vars(base).items()
        if not (name.startswith("_") or callable(value))
    }
    options -= {"setUpClass", "tearDownClass"}
    assert [
        name for name in options if not getattr(TestKernel, name, getattr(TestIopubWelcome, name, None))
    ] == []
