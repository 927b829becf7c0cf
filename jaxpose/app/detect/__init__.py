"""Keypoints of people in videos: frames in, detections out; each detector is one function."""
