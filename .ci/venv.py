"""Make a virtual environment with pip in it: `python3 .ci/venv.py FOLDER`.

Runs on Pythons that are too old for jaxpose too, so that they get a message and no traceback. Debian ships Python
without ensurepip (it is in the package python3-venv): there, pip's wheel comes from the package index, hash checked.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from urllib.parse import urldefrag, urljoin
from urllib.request import urlopen

NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")


def main(folder):
    """Leave a working environment in `folder`, or leave with a message."""
    check_version()
    python = os.path.join(folder, "bin", "python")
    if runs(python, "-m", "pip", "--version"):
        return
    if not runs(sys.executable, "-c", "import venv"):
        sys.exit(f"{sys.executable} has no module venv; on Debian: apt install python3-venv")
    if runs(sys.executable, "-c", "import ensurepip"):
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", folder])
        return
    subprocess.check_call([sys.executable, "-m", "venv", "--clear", "--without-pip", folder])
    try:
        install_pip(python)
    except (OSError, ValueError) as error:
        shutil.rmtree(folder)
        sys.exit(
            f"{sys.executable} has no ensurepip, and pip could not be downloaded ({error}); "
            "on Debian: apt install python3-venv"
        )


def check_version():
    """Leave with the name of a Python that will do, where this one will not."""
    if sys.version_info >= (3, 11):  # noqa: UP036
        return
    others = [name for name in NEWER if runs(name, "--version")]
    hint = (
        f"call make with PYTHON={others[0]}" if others else "install one and name it: make PYTHON=python3.12"
    )
    sys.exit(f"jaxpose needs Python >= 3.11, {sys.executable} is {sys.version.split()[0]}: {hint}")


def install_pip(python):
    """Install the index's newest pip with itself: a wheel can be run without being installed."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    with urlopen(index, timeout=60) as page:
        links = re.findall(r'href="([^"]+/pip-[\d.]+-py3-none-any\.whl#sha256=\w+)"', page.read().decode())
    if not links:
        raise ValueError(f"{index} has no wheel of pip")
    url, digest = urldefrag(urljoin(index, links[-1]))
    with urlopen(url, timeout=60) as reply:
        wheel = reply.read()
    if f"sha256={hashlib.sha256(wheel).hexdigest()}" != digest:
        raise ValueError(f"{url} has the wrong hash")
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, url.rsplit("/", 1)[1])
        with open(path, "wb") as file:
            file.write(wheel)
        subprocess.check_call([python, os.path.join(path, "pip"), "install", "--quiet", "--no-index", path])


def runs(*command):
    """Whether a command is there and succeeds."""
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


if __name__ == "__main__":
    main(sys.argv[1])
