"""Make a virtual environment with pip in it: `python3 .ci/venv.py FOLDER`; `--newest` prints the newest Python here.

Runs on Pythons that are too old for jaxpose too, so that they get a message and no traceback. Debian ships Python
without ensurepip, which is in the package python3-venv: root gets it installed, anybody else is told.
"""

import os
import subprocess
import sys

NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")
PYENV = os.path.join(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), "versions")


def main(folder):
    """Leave a working environment in `folder`, or leave with a message."""
    check_version()
    if runs(os.path.join(folder, "bin", "python"), "-m", "pip", "--version"):
        return
    if not has_ensurepip() and os.geteuid() == 0 and runs("apt-get", "--version"):
        print("installing Debian's python3-venv, which this Python lacks")
        subprocess.call(["apt-get", "update", "-qq"])
        subprocess.call(["apt-get", "install", "-y", "-qq", "python3-venv"])
    if not has_ensurepip():
        sys.exit(f"{sys.executable} cannot make a virtual environment; on Debian: apt install python3-venv")
    subprocess.check_call([sys.executable, "-m", "venv", "--clear", folder])


def check_version():
    """Leave with the name of a Python that will do, where this one will not."""
    if sys.version_info >= (3, 11):  # noqa: UP036
        return
    others = [name for name in NEWER if runs(name, "--version")]
    hint = f"call make with PYTHON={others[0]}" if others else "install one: make PYTHON=python3.12"
    sys.exit(f"jaxpose needs Python >= 3.11, {sys.executable} is {sys.version.split()[0]}: {hint}")


def newest():
    """The newest interpreter on PATH or of pyenv; pyenv's names on PATH run only where a version is chosen."""
    for name in NEWER:
        version = name[len("python") :] + "."
        folders = sorted(x for x in (os.listdir(PYENV) if os.path.isdir(PYENV) else []) if x.startswith(version))
        for candidate in [name, *(os.path.join(PYENV, folder, "bin", name) for folder in folders)]:
            if runs(candidate, "--version"):
                return candidate
    sys.exit("no Python >= 3.11 is here")


def has_ensurepip():
    """Whether a new process of this Python can make an environment with pip."""
    return runs(sys.executable, "-c", "import venv, ensurepip")


def runs(*command):
    """Whether a command is there and succeeds."""
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


if __name__ == "__main__":
    print(newest()) if sys.argv[1] == "--newest" else main(sys.argv[1])
