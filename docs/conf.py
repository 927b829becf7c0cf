"""Sphinx configuration of the documentation site: `make docs` builds it into build/docs, warnings as errors.

The API pages and the copies of the notebooks are written by `docs/generate.py` before Sphinx reads its sources.
"""

import shutil
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS), str(ROOT)]

import generate  # noqa: E402

project = "jaxpose"
copyright = "the jaxpose authors"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
version = release

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["gallery/*"]
html_theme = "sphinx_book_theme"
html_title = f"jaxpose {release}"
html_search_scorer = str(DOCS / "scorer.js")  # Sphinx opens it from where it was started
html_static_path = ["static"]
html_css_files = ["tables.css"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # tests/notebooks_test.py runs the notebooks, in `make nightly`

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
# names of tier 1 are documented at their homes in tier 2 too; cells of notebooks may have lines of a shell
suppress_warnings = ["ref.python", "misc.highlighting_failure"]
python_maximum_signature_line_length = 100

generate.write(DOCS, ROOT)


def copy_gallery(app, exception):
    """The gallery's pages, which `python -m experiments.gallery` writes, as they are."""
    if exception is None and app.builder.format == "html":
        shutil.copytree(DOCS / "gallery", Path(app.outdir) / "gallery", dirs_exist_ok=True)


def setup(app):
    app.connect("build-finished", copy_gallery)
    app.connect("autodoc-process-docstring", generate.process_docstring)
    app.connect("autodoc-skip-member", generate.skip_member)
