"""A plotly figure as one HTML file that opens in any browser, offline.

plotly.js (4 MB) is inside the page, or in a file beside it that several pages share: where that file is missing, the
page loads the same version from plotly's address. `page.html#3` opens row 3.
"""

import html
import os
from pathlib import Path
from typing import Any

from jaxpose.files import atomic
from jaxpose.viz import scene as sc
from jaxpose.viz.figure import FONT

LIBRARY = "plotly.min.js"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html, body {{ height: 100%; margin: 0; background: #fff; color: {ink}; font-family: {font}; }}
body {{ display: flex; flex-direction: column; }}
header {{ padding: 14px 24px 0; }}
h1 {{ font-size: 19px; font-weight: 600; margin: 0 0 4px; }}
p {{ font-size: 13px; line-height: 1.45; margin: 0; color: {muted}; }}
.note {{ color: {ink}; font-size: 14px; margin: 0 0 3px; }}
b {{ font-weight: 600; }}
main {{ flex: 1; min-height: 480px; }}
</style>{library}</head>
<body><header><h1>{title}</h1>{note}<p>{caption}</p>
<p>{sides}drag to orbit, scroll to zoom, click a legend entry to hide it</p></header>
<main>{figure}</main></body></html>
"""
_SIDES = '<b style="color:{left}">left</b> · <b style="color:{right}">right</b> · '
_BESIDE = """
<script src="{name}"></script>
<script>window.Plotly || document.write('<script src="{address}"><\\/script>')</script>
"""
_OPEN_ROW = """
function openRow() {
  const row = location.hash.slice(1);
  if (/^[0-9]+$/.test(row)) Plotly.animate('{plot_id}', [row], {mode: 'immediate', transition: {duration: 0},
    frame: {duration: 0, redraw: true}}).catch(() => {});
}
addEventListener('hashchange', openRow);
openRow();
"""


def write_page(
    path: str | os.PathLike[str], figure: Any, title: str, note: str, library_beside: bool, *, sides: bool = True
) -> Path:
    """Write a figure under a title, a note and its caption, which are escaped; with library_beside also plotly.min.js.

    sides: whether the figure has skeletons, whose colours of left and right are then explained.
    Raises ValueError for a folder that is not there.
    """
    target = Path(path)
    library = _library(target) if library_beside else ""
    config = {"displaylogo": False, "responsive": True, "modeBarButtons": [["toImage", "resetCameraDefault3d"]]}
    parts = {"full_html": False, "include_plotlyjs": not library_beside, "post_script": _OPEN_ROW}
    body = figure.to_html(auto_play=False, config=config, validate=False, **parts)
    text = {
        "title": html.escape(sc.printable(title, 200)),
        "note": f'<p class="note">{html.escape(sc.printable(note, 300))}</p>' if note else "",
        "caption": html.escape(figure.layout.meta),
        "sides": _SIDES.format(left=sc.LEFT, right=sc.RIGHT) if sides else "",
    }
    page = _PAGE.format(**text, figure=body, library=library, ink=sc.INK, muted=sc.MUTED, font=FONT)
    with atomic(target) as file:
        file.write(page.encode("utf-8"))
    return target


def _library(page: Path) -> str:
    """The page's way to plotly.js, which is written beside it unless the same lies there already."""
    plotly = sc.need("plotly.offline")
    content, beside = plotly.get_plotlyjs().encode("utf-8"), page.with_name(LIBRARY)
    if not (beside.is_file() and beside.read_bytes() == content):
        with atomic(beside) as file:
            file.write(content)
    address = f"https://cdn.plot.ly/plotly-{plotly.get_plotlyjs_version()}.min.js"
    return _BESIDE.format(name=LIBRARY, address=address)
