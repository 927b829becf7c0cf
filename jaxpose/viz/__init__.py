"""Pictures of pose hypotheses and bodies: contact sheets (PNG), interactive scenes (HTML), meshes for other programs.

Needs `pip install jaxpose[viz]` when a picture is drawn, not when this package is imported.
"""

# ruff: noqa: F401 - the names are passed on

from jaxpose.viz.interactive import grid_html, interactive_figure, interactive_html, path_figure, path_html
from jaxpose.viz.mesh import mesh_figure, mesh_html
from jaxpose.viz.mesh_files import write_glb, write_motion_glb, write_obj
from jaxpose.viz.sheet import contact_sheet, mesh_sheet, reliability_png

__all__ = sorted(name for name, value in globals().items() if callable(value) and not name.startswith("_"))
