"""Pictures of pose hypotheses and bodies: contact sheets (PNG), interactive scenes (HTML), meshes for other programs.

Needs `pip install jaxpose[viz]` when a picture is drawn, not when this package is imported.
"""

from jaxpose.viz.interactive import grid_html, interactive_figure, interactive_html, path_figure, path_html
from jaxpose.viz.mesh import mesh_figure, mesh_html
from jaxpose.viz.mesh_files import write_glb, write_motion_glb, write_obj
from jaxpose.viz.sheet import contact_sheet, mesh_sheet, reliability_png

__all__ = [
    "contact_sheet",
    "grid_html",
    "interactive_figure",
    "interactive_html",
    "mesh_figure",
    "mesh_html",
    "mesh_sheet",
    "path_figure",
    "path_html",
    "reliability_png",
    "write_glb",
    "write_motion_glb",
    "write_obj",
]
