"""The commands of `jaxpose`, a file for each: `add_parser(commands)`, and `run(args)`, which works and yields lines.

lift.py, complete.py, denoise.py, generate.py, ik.py, fit.py, interpolate.py, convert.py, prepare.py and arguments.py
load quickly, so that `jaxpose --help` does; the others do the work and are imported when a command runs. Given a prior
over joint rotations, complete, denoise and generate work in complete_rotations.py, denoise_motion.py and
generate_rotations.py.
"""
