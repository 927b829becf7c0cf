"""Pictures of pose hypotheses: a contact sheet (PNG) and an interactive scene (one HTML file).

Needs `pip install jaxpose[viz]` when a picture is drawn, not when this package is imported.
"""

from jaxpose.viz.interactive import interactive_figure, interactive_html
from jaxpose.viz.sheet import contact_sheet

__all__ = ["contact_sheet", "interactive_figure", "interactive_html"]
