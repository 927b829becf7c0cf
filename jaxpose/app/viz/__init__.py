"""Pictures of pose hypotheses and bodies: contact sheets (PNG), pages in 3D (HTML), and meshes for other programs.

Contact sheets need `pip install jaxpose[viz]` when they are drawn, not when this package is imported. Pages need
nothing more.
"""

# ruff: noqa: F401 - the names are passed on

from jaxpose.app.viz.mesh import Skin, mesh_page, skins_of
from jaxpose.app.viz.scenes import grid_page, motion_page, path_page
from jaxpose.app.viz.sheet import Panel, bands_png, contact_sheet, mesh_sheet, reliability_png
from jaxpose.io.meshes import write_motion_glb, write_obj

__all__ = sorted(name for name, value in globals().items() if callable(value) and not name.startswith("_"))
