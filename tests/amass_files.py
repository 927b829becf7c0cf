"""AMASS's files as its two releases write them: the same keys, types and pickled members (spec/dposer.md 3)."""

import numpy as np

BETAS = np.linspace(-1, 1, 16)


def smplh_file(path, poses, trans, rate):
    """`*_poses.npz`, SMPL+H: float64, poses [F, 156], the rate without a second underscore."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        trans=np.asarray(trans, float),
        gender=np.array("female"),
        mocap_framerate=np.array(float(rate)),
        betas=BETAS,
        dmpls=np.zeros((len(poses), 8)),
        poses=np.asarray(poses, float),
    )
    return path


def smplx_file(path, poses, trans, rate, vids=None):
    """`*_stageii.npz`, SMPL-X: poses [F, 165] and their parts, markers with a pickled dict; `vids` in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    poses = np.asarray(poses, float)
    vids = {"ARIEL": 9011, "C7": 3832} if vids is None else vids
    np.savez(
        path,
        gender=np.array("neutral"),
        surface_model_type=np.array("smplx"),
        mocap_frame_rate=np.array(float(rate)),
        mocap_time_length=np.array(len(poses) / rate),
        markers_latent=np.zeros((2, 3)),
        latent_labels=np.array(["ARIEL", "C7"]),
        markers_latent_vids=np.array(vids, dtype=object),
        trans=np.asarray(trans, float),
        poses=poses,
        betas=BETAS,
        num_betas=np.array(16),
        root_orient=poses[:, :3],
        pose_body=poses[:, 3:66],
        pose_hand=poses[:, 75:],
        pose_jaw=poses[:, 66:69],
        pose_eye=poses[:, 69:75],
    )
    return path
