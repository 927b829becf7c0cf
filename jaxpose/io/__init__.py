"""Reading and writing files: `read` detects the content of a file and returns it; each format has a module."""

from jaxpose.io.contents import Data, kind_of, read

__all__ = ["Data", "kind_of", "read"]
