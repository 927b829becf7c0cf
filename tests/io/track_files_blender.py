"""Run by Blender's Python (the package bpy): imports FILE.bvh and FILE.glb and prints where the joints are, y up, m.

python track_files_blender.py FOLDER NAME FRAME ...     ->  {"bvh": [{joint: [x, y, z]} of each frame], "glb": ...}
"""

import json
import sys

import bpy


def armature():
    """The one armature of the scene."""
    return next(o for o in bpy.data.objects if o.type == "ARMATURE")


def heads(first):
    """Heads of the bones in each of the frames; Blender has z up."""
    found = []
    for frame in FRAMES:
        bpy.context.scene.frame_set(frame + first)
        place = armature().matrix_world
        heads = {bone.name: place @ bone.head for bone in armature().pose.bones}
        found.append({name: [p.x, p.z, -p.y] for name, p in heads.items()})
    return found


FOLDER, NAME, *rest = sys.argv[1:]
FRAMES = [int(f) for f in rest]
result = {}
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_anim.bvh(filepath=f"{FOLDER}/{NAME}.bvh", global_scale=0.01, update_scene_fps=True)
result["bvh"], result["fps"] = heads(1), bpy.context.scene.render.fps
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.context.scene.render.fps = 30
bpy.ops.import_scene.gltf(filepath=f"{FOLDER}/{NAME}.glb")
result["actions"] = sorted(action.name for action in bpy.data.actions)
data = armature().animation_data
for track in data.nla_tracks:
    track.mute = True
data.action = bpy.data.actions["motion"]
data.action_slot = data.action.slots[0]
result["glb"] = heads(0)
(mesh,) = [o for o in bpy.data.objects if o.type == "MESH" and o.modifiers]
result["modifiers"], result["groups"] = [m.type for m in mesh.modifiers], len(mesh.vertex_groups)
bpy.context.scene.frame_set(FRAMES[0])
made = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
points = [made.matrix_world @ v.co for v in made.data.vertices]
result["low"], result["high"] = min(p.z for p in points), max(p.z for p in points)
print("RESULT" + json.dumps(result))
