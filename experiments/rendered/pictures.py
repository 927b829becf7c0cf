"""Backgrounds, and what a lens, a sensor and a codec make of an image. Images are float32 [H, W, 3] in [0, 1]."""

import functools
import io
from typing import Any

import numpy as np

# Kinds of backgrounds; the last two are of scoring alone.
TRAINING, SCORING = ("smooth", "clutter", "planks", "foliage", "outside", "cloth"), ("bricks", "shelves")


def _bytes(image: np.ndarray) -> np.ndarray:
    return (image * 255 + 0.5).clip(0, 255).astype(np.uint8)


def clouds(rng: np.random.Generator, width: int, height: int, finest: int, fall: float = 0.6) -> np.ndarray:
    """Noise [H, W] in about [0, 1] of octaves down to `finest` pixels, each `fall` times as strong as the last."""
    from PIL import Image

    total, strength, cells = np.full((height, width), 0.5, np.float32), 1.0, 2
    while max(width, height) / cells >= finest:
        grid = Image.fromarray(rng.random((max(2, cells * height // width), cells)).astype(np.float32) - 0.5)
        total += strength * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
        strength, cells = strength * fall, cells * 2
    return total


def background(rng: np.random.Generator, width: int, height: int, horizon: float, kind: str) -> np.ndarray:
    """A wall or a view above the line of the floor, `horizon` pixels from the top, and a floor."""
    colours = rng.random((6, 3)) * rng.uniform(0.3, 1) + rng.uniform(0, 0.3)
    mix = clouds(rng, width, height, int(rng.choice([4, 12, 40])))[..., None]
    image = colours[0] + mix * (colours[1] - colours[0])
    x, y = np.arange(width)[None], np.arange(height)[:, None]
    period = np.exp(rng.uniform(np.log(8), np.log(60)))
    if kind in ("clutter", "shelves"):
        for _ in range(int(rng.integers(6, 40))):
            w, h = np.exp(rng.uniform(np.log(6), np.log(width / 2), 2)).astype(int)
            left, top = int(rng.integers(-w // 2, width)), int(rng.integers(-h // 2, height))
            if kind == "shelves":
                top, h = int(top // period * period), int(period * 0.9)
            part = image[max(top, 0) : top + h, max(left, 0) : left + w]
            part[:] = rng.random(3) * (1 + 0.3 * rng.normal() * (np.arange(part.shape[1])[None, :, None] / max(w, 1)))
    elif kind == "planks":
        turned = x if rng.random() < 0.7 else y
        image = image * np.where((turned + rng.uniform(0, period)) % period < 2, 0.5, 1)[..., None]
        image = image * (1 + 0.3 * np.sin(2.4 * (turned // period)))[..., None]
    elif kind == "bricks":
        row = y // (period / 2)
        mortar = (y % (period / 2) < 2) | ((x + (row % 2) * period / 2) % period < 2)
        image = np.where(
            mortar[..., None], colours[2], image * (1 + 0.3 * np.sin(3.7 * row + (x // period))[..., None])
        )
    elif kind == "foliage":
        leaf = clouds(rng, width, height, 2, 0.95)[..., None]
        image = np.where(leaf > rng.uniform(0.3, 0.7), colours[2] * [0.6, 1, 0.5], image * [0.7, 1, 0.6]) * (0.5 + leaf)
    elif kind == "outside":
        sky = np.array([0.6, 0.75, 0.95]) + (y / height)[..., None] * [0.35, 0.2, 0.0]
        hills = horizon - 0.3 * height * clouds(rng, width, 2, 8)[:1]
        image = np.where((y > hills)[..., None], image * [0.8, 1, 0.7], sky + 0 * image)
    elif kind == "cloth":
        image = image * (1 + 0.4 * np.sin(6.3 * x / period + 4 * mix[..., 0]))[..., None]
    ground = clouds(rng, width, height, int(rng.choice([2, 6, 30])))[..., None]
    floor = colours[3] + ground * (colours[4] - colours[3])
    if rng.random() < 0.4:  # tiles or boards in perspective
        depth = 1 / np.maximum(y - horizon, 1)
        lines = np.sin((x - width / 2) * depth * rng.uniform(3, 20)) * np.sin(depth * height * rng.uniform(1, 8))
        floor = floor * (1 + 0.25 * np.sign(lines))[..., None]
    return np.where((y > horizon)[..., None], floor, image).astype(np.float32)


def blurred(image: np.ndarray, radius: float) -> np.ndarray:
    """An image after a Gaussian of `radius` pixels."""
    from PIL import Image, ImageFilter

    if radius < 0.2:
        return image
    return np.asarray(Image.fromarray(_bytes(image)).filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def shaken(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """An image blurred along a line of `pixels` [2]."""
    steps = np.round(np.linspace(-0.5, 0.5, 5)[:, None] * pixels).astype(int)
    return np.asarray(sum(np.roll(image, (dy, dx), (0, 1)) for dx, dy in steps) / len(steps), np.float32)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """uint8 [H, W, 3] after JPEG of this quality, 1 to 95; above: as it is."""
    from PIL import Image

    if quality > 95:
        return _bytes(image)
    buffer = io.BytesIO()
    Image.fromarray(_bytes(image)).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def h264(images: list[np.ndarray], fps: int, crf: int) -> list[np.ndarray]:
    """uint8 images of a clip after H.264 of this constant rate factor."""
    import av

    height, width = (size - size % 2 for size in images[0].shape[:2])
    coder = _coder(width, height, fps, crf)
    packets = [p for image in images for p in coder.encode(av.VideoFrame.from_ndarray(_bytes(image)[:height, :width]))]
    packets += coder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    pad = ((0, images[0].shape[0] - height), (0, images[0].shape[1] - width), (0, 0))
    return [np.pad(frame.to_ndarray(format="rgb24"), pad, "edge") for frame in frames]


def _coder(width: int, height: int, fps: int, crf: int) -> Any:
    import av

    coder: Any = av.CodecContext.create("libx264", "w")
    coder.width, coder.height, coder.pix_fmt, coder.framerate = width, height, "yuv420p", fps
    coder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
    return coder


@functools.cache
def codec() -> bool:
    """Whether PyAV and its H.264 are there."""
    try:
        import av

        return "libx264" in av.codecs_available
    except ImportError:
        return False
