"""Pictures of pose hypotheses: a contact sheet (PNG) and interactive scenes (one HTML file each).

Needs `pip install jaxpose[viz]` when a picture is drawn, not when this package is imported.
"""

from jaxpose.viz.interactive import (
    grid_html,
    interactive_figure,
    interactive_html,
    path_figure,
    path_html,
)
from jaxpose.viz.sheet import contact_sheet

__all__ = [
    "contact_sheet",
    "grid_html",
    "interactive_figure",
    "interactive_html",
    "path_figure",
    "path_html",
]
