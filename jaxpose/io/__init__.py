"""Files in and out: `read` tells what a file holds and returns it; a module for each format reads and writes."""

from jaxpose.io.contents import Data, kind_of, read

__all__ = ["Data", "kind_of", "read"]
