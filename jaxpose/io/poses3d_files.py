"""Old name of `poses3d.holds_poses3d`, until the commands use `io.read`."""

from jaxpose.io.poses3d import holds_poses3d as holds_poses3d
