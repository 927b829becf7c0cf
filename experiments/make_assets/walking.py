"""A procedural walk of the body of `mannequin.py`, for the demo clip: a smooth function from time to joint angles.

Forward kinematics and feet that stay on the floor do the rest. World frame, units and joint set as in `mannequin.py`.

Source. Gait curves: typical sagittal hip and knee angles over a stride (D. A. Winter, Biomechanics and Motor
Control of Human Movement; J. Perry, Gait Analysis), read at every tenth of a stride.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np

from experiments.make_assets.mannequin import ANKLE_RATIO, AnglesDeg, clip_angles, forward_kinematics
from jaxpose.base import Array, Key

# Degrees at 0, 10, ... 90 % of a stride that begins with the foot's first contact.
_GAIT_DEG = {"hip": (28, 24, 15, 5, -5, -11, -3, 16, 28, 30), "knee": (6, 16, 17, 10, 6, 12, 36, 60, 50, 18)}
# Arm gestures wave and reach, degrees: lowest and highest flexion, abduction, inward rotation and elbow; Hz.
_GESTURES = (((5, 65, -85, 50), (25, 95, -65, 105), 0.9), ((45, 0, -15, 8), (130, 40, 25, 55), 0.25))


class Style(NamedTuple):
    """Parameters of one walk; `numbers` [16] and `arms` [2, 8] in [0, 1], heading in rad.

    gesture: index of _GESTURES. gesturing: [2], 1 for the arms (left, right) that gesture.
    """

    gesture: Array
    gesturing: Array
    numbers: Array
    arms: Array
    heading: Array


def draw_style(key: Key) -> Style:
    """A walk on a tight arc, in which one arm waves or reaches now and then."""
    style_key, gesture_key, arm_key = jax.random.split(key, 4)[:3]
    _, _, _, number_key, wander_key, heading_key = jax.random.split(style_key, 6)
    numbers = jax.random.uniform(number_key, (16,))
    return Style(
        jax.random.randint(gesture_key, (), 1, 3) - 1,
        jnp.eye(2)[jax.random.randint(arm_key, (), 0, 2)],
        numbers.at[:2].multiply(0.5).at[5].set(jnp.round(numbers[5])),
        jax.random.uniform(wander_key, (2, 8)),
        jax.random.uniform(heading_key, (), minval=-jnp.pi, maxval=jnp.pi),
    )


@functools.partial(jax.jit, static_argnames="num_frames")
def film(style: Style, body: Array, num_frames: int, fps: float) -> Array:
    """Joints [F, 17, 3] metres of a walk, the first hip over x = z = 0; body: [17] bone lengths in metres."""
    joints = jax.vmap(lambda time: _joints_at(style, body, time))(jnp.arange(num_frames) / fps)
    return joints - joints[0, 0] * jnp.array([1.0, 0.0, 1.0])


def _joints_at(style: Style, body: Array, time: Array) -> Array:
    """Joints [17, 3] at a time, the path starting at x = z = 0."""
    angles, travel, turned = _walk(style.numbers, time, body)
    angles = clip_angles(angles._replace(arms=_gesturing_arms(style, angles.arms, time)))
    rotation = jaxlie.SO3.from_y_radians(style.heading + turned)
    joints = jax.vmap(rotation.apply)(forward_kinematics(angles, body))
    ankles = joints[jnp.array([3, 6])]
    # A soft minimum over the feet, at most 1 cm above the hard one: no kink where one foot takes over.
    lowest = -0.015 * (jax.nn.logsumexp(-ankles[:, 1] / 0.015) - jnp.log(2.0))
    height = ANKLE_RATIO * (body[5] + body[6]) - lowest
    chord = travel * jnp.sinc(turned / (2 * jnp.pi))  # of the arc travelled
    along = style.heading + turned / 2
    return joints + jnp.stack([chord * jnp.sin(along), height, chord * jnp.cos(along)])


def _walk(n: Array, time: Array, body: Array) -> tuple[AnglesDeg, Array, Array]:
    """Joint angles, metres along the arc and radians turned on it; numbers n [16].

    Arms swing against legs, the thorax turns against the pelvis, the stride gives the speed.
    """
    rate, size, swing = _span(n[0], 0.75, 1.0), _span(n[1], 0.75, 1.15), _span(n[2], 8, 26)
    phase = rate * time + n[3]
    c, s = jnp.cos(2 * jnp.pi * phase), jnp.sin(2 * jnp.pi * phase)

    def leg(phase: Array, side: Array) -> tuple:  # + 6: walkers in motion capture straighten the knee less
        return (size * _gait("hip", phase), -1.5 + side, _span(n[4], -12, -2), 6 + size * _gait("knee", phase))

    def ankle_ahead(phase: Array) -> Array:  # of the hip, for the foot that is on the floor
        hip, _, _, knee = jnp.radians(jnp.stack(leg(phase, jnp.zeros(()))))
        return body[5] * jnp.sin(hip) - body[6] * jnp.sin(knee - hip)

    def arm(forward: Array) -> tuple:
        elbow = _span(n[6], 12, 32) + 0.5 * swing * (1 + forward) / 2
        return _span(n[7], -6, 6) + swing * forward, _span(n[8], 5, 11), _span(n[9], 0, 30), elbow

    stance = jnp.array([0.08, 0.48])  # from loading to terminal stance, while the foot is flat
    speed = rate * (ankle_ahead(stance[0]) - ankle_ahead(stance[1])) / (stance[1] - stance[0])
    trunk = _trunk(n, time, (0.0, -3 * s, -5 * size * c), (0.0, 3 * s, 4 * size * c), (0.0, 0.0, 5 * size * c))
    angles = AnglesDeg(trunk, _limbs(leg(phase, -3 * s), leg(phase + 0.5, 3 * s)), _limbs(arm(-c), arm(c)))
    curvature = _span(jnp.abs(2 * n[5] - 1), 0.1, 0.9) * jnp.sign(n[5] - 0.5)  # 1 / m
    return angles, speed * time, curvature * (speed * time)


def _trunk(n: Array, time: Array, pelvis: tuple, spine: tuple, thorax: tuple) -> Array:
    """Trunk angles [4, 3]: the walk's, a posture, a head that looks around (numbers 10-15)."""
    look = _span(n[10], 3, 28) * _wander(n[11], time, 0.17)
    nod = _span(n[12], -10, 12) + 5 * _wander(n[13], time, 0.21)
    sway = 2 * _wander(n[14], time, 0.13)
    posture = ((_span(n[14], -5, 4), 0, 0), (_span(n[15], -3, 5), sway, 0), (_span(n[13], -6, 4), -sway, 0.15 * look))
    rows = [
        jnp.stack([jnp.asarray(a + b) for a, b in zip(x, y, strict=True)])
        for x, y in zip((pelvis, spine, thorax), posture, strict=True)
    ]
    return jnp.stack([*rows, jnp.stack([nod, 0.1 * look, look])])


def _gesturing_arms(style: Style, arms: Array, time: Array) -> Array:
    """Arms [2, 4], now and then taken over by the gesture in a 5 s beat."""
    low, high, hz = (jnp.array(x, jnp.float32)[style.gesture] for x in zip(*_GESTURES, strict=True))
    wave = jax.vmap(jax.vmap(lambda u: _wander(u, time, hz)))(style.arms[:, :4])
    target = low + (high - low) * (0.5 + 0.5 * (0.6 * wave + 0.8 * (style.arms[:, 4:] - 0.5)))
    beat = jnp.sin(2 * jnp.pi * (time / 5 - 0.25 + style.arms[0, 0]))
    weight = (0.5 + 0.5 * jnp.tanh(3 * beat + 1)) * style.gesturing
    return arms + weight[:, None] * (target - arms)


def _gait(name: str, phase: Array) -> Array:
    """A gait curve in degrees at a phase in strides, by its first four harmonics."""
    c = np.fft.rfft(_GAIT_DEG[name])[:5] / 10
    turns = 2 * jnp.pi * np.arange(1, 5) * phase
    return c[0].real + 2 * jnp.sum(c[1:].real * jnp.cos(turns) - c[1:].imag * jnp.sin(turns))


def _span(u: Array, low: float, high: float) -> Array:
    """A number in [0, 1] as a value in a range."""
    return low + (high - low) * u


def _wander(u: Array, time: Array, hz: Array | float) -> Array:
    """A smooth signal in [-1, 1] of two incommensurable tones; its phase is u in [0, 1]."""
    return 0.65 * jnp.sin(2 * jnp.pi * (hz * time + u)) + 0.35 * jnp.sin(2 * jnp.pi * (1.618 * hz * time + 7 * u))


def _limbs(left: tuple, right: tuple) -> Array:
    return jnp.stack([jnp.stack([jnp.asarray(x, jnp.float32) for x in side]) for side in (left, right)])
