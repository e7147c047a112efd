"""`python -m rust_hygiene ARGUMENTS…` is `rust-hygiene ARGUMENTS…` of the environment of this Python."""

import os
import sys
import sysconfig

PROGRAM = "rust-hygiene"


def script_folders() -> list[str]:
    """Every folder where pip may have put the program, the likeliest first."""
    folders = [sysconfig.get_path("scripts")]
    if sys.executable:
        folders.append(os.path.dirname(sys.executable))
    if "posix_user" in sysconfig.get_scheme_names():
        folders.append(sysconfig.get_path("scripts", "posix_user"))
    # `pip install --target DIR` makes DIR/bin beside this package.
    site_packages = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders.append(os.path.join(site_packages, "bin"))
    # `pip install --prefix DIR`: DIR/lib/pythonX.Y/site-packages/rust_hygiene.
    folders.append(os.path.join(site_packages, "..", "..", "..", "bin"))
    return folders


def find_program() -> str:
    """The path of the native program; ends the process with an explanation if it is missing."""
    folders = script_folders()
    for folder in folders:
        program = os.path.join(folder, PROGRAM)
        if os.path.isfile(program) and os.access(program, os.X_OK):
            return program
    places = "\n  ".join(os.path.normpath(folder) for folder in folders)
    raise SystemExit(
        f"rust-hygiene: its program is in none of these folders:\n  {places}\n"
        f"Install the package again: {sys.executable or 'python'} -m pip install --force-reinstall rust-hygiene"
    )


def main() -> None:
    """Becomes the program, which shall run cells with this very Python unless told otherwise."""
    program = find_program()
    if sys.executable:
        os.environ.setdefault("RUST_HYGIENE_PYTHON", sys.executable)
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
