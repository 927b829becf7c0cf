"""The commands of `jaxpose`: functions of options that work and yield lines.

`options.py` says which options a command has and which function it is; it is imported for help. The other files are
imported when a command runs. They share `detections` and `poses` (what was read), `blocks` (the work on many rows),
`report` and `bodies` (files of a result).
"""
