"""Rendered people as BlazePose reads them, with exact truth: data for training on what a detector really does.

    python -m experiments.rendered produce --shards=FOLDER        shards FOLDER/{train,val}/NUMBER.npz
    python -m experiments.rendered compare --shards=FOLDER        the law of the errors beside real videos
    experiments.rendered.shards: load(FOLDER, "train"), readings(data, "full")

A shard has 20 clips of 8 to 16 frames at 10, 15 or 30 a second and 180 single frames, N frames in all; each array has
N rows. A clip's frames follow each other. What is not known is NaN.

    clip, body, subject    numbers of the clip and of the dressed body, name of the motion capture's person
    seconds, effects       time in the clip; bits of what makes it hard, in the order of scenes.SHARES
    size, intrinsics       [2] width and height, [4] fx, fy, cx, cy of the image, px; R_cam_world [3, 3], y up
    joints, landmarks      truth before the camera, metres: [17, 3] of H36M_17, [33, 3] of BlazePose's (NaN: fingers,
                           mouth, corners of the eyes, which ANNY does not name; limb joints are ANNY's joint centres)
    hidden, hidden_landmarks    [17], [33] of scenes.VISIBLE, SELF, COVERED, OUTSIDE

and of each NETWORK of lite, full, heavy (12 % of the clips), mirrored (full on the mirror image of its crop, 25 %):

    NETWORK.xy             [33, 2] px of the image; of the 256 crop: R(-angle) (xy - centre) / side 256 + 128
    NETWORK.crop           [4] centre x, y and side px, angle radians (app/detect/people.py)
    NETWORK.how            where the crop comes from: produce.FOUND, GIVEN (about the truth), FOLLOWED
    NETWORK.presence       that somebody is there, of which the detector asks 1/2; visibility [33]
    NETWORK.world          [33, 3] metres, its own 3D in camera axes
    NETWORK.peak, second, spread    [33] of its heatmaps: highest value, second peak, spread px of the 256 crop

A pixel k of the image is at k. `val` has the motion capture's validation subjects, bodies and clothes of its own, and
kinds of backgrounds that `train` lacks. The poses of `uiprmd` are in neither.
"""
