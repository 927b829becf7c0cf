"""The commands of `jaxpose`, a file for each: a function of its options that works and yields lines.

`options.py` says which options a command has and which function it is; it is imported for help. The other files are
imported when a command runs. They share `detections` and `poses` (what was read), `blocks` (the work on many rows),
`report` and `report_bodies` (files of a result).
"""
