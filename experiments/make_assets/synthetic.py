"""A procedural human: poses and short motions of the body of `mannequin.py`, made from nothing but a key.

An activity is a smooth function from time to joint angles; forward kinematics and feet that stay on the floor
do the rest. World frame, units and joint set as in `mannequin.py`.

Source. Gait curves: typical sagittal hip and knee angles over a stride (D. A. Winter, Biomechanics and Motor
Control of Human Movement; J. Perry, Gait Analysis), read at every tenth of a stride.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np

from experiments.make_assets.mannequin import ANKLE_RATIO, AnglesDeg, clip_angles, forward_kinematics
from jaxpose.base import Array, Key

# Degrees at 0, 10, ... 90 % of a stride that begins with the foot's first contact.
_GAIT_DEG = {"hip": (28, 24, 15, 5, -5, -11, -3, 16, 28, 30), "knee": (6, 16, 17, 10, 6, 12, 36, 60, 50, 18)}

# Arm gestures, degrees: lowest and highest flexion, abduction, inward rotation and elbow, and how often (Hz).
GESTURES = {
    "none": ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
    "wave": ((5, 65, -85, 50), (25, 95, -65, 105), 0.9),
    "reach": ((45, 0, -15, 8), (130, 40, 25, 55), 0.25),
    "carry": ((8, 2, 15, 65), (35, 14, 40, 100), 0.2),
    "hips": ((-28, 35, 40, 80), (-12, 50, 60, 100), 0.1),
    "face": ((30, 5, 0, 112), (65, 30, 45, 138), 0.25),
    "side": ((-10, 40, -45, 8), (30, 115, 15, 60), 0.3),
}


class Move(NamedTuple):
    """One instant of an activity: joint angles, where the body is on its path, and how it meets the floor.

    travel: m along the path. heading: rad, 0 faces +z, towards +x positive. lift: m of the lower foot over
    the floor. planted: 1 keeps the middle of the feet on the path, 0 the pelvis.
    """

    angles: AnglesDeg
    travel: Array
    heading: Array
    lift: Array
    planted: Array


class Style(NamedTuple):
    """Parameters of one performance; `numbers` and `arms` in [0, 1] are what an activity reads."""

    activity: Array
    gesture: Array
    gesturing: Array  # [2] 1 for the arms (left, right) that gesture
    numbers: Array  # [16]
    arms: Array  # [2, 8]
    heading: Array


# Activities: (numbers [16], time in s, body) -> Move. `_span` reads a number as a value in a range, `_wander`
# as a smooth signal.


def _span(u: Array, low: float, high: float) -> Array:
    return low + (high - low) * u


def _wander(u: Array, time: Array, hz: Array | float) -> Array:
    """A smooth signal in [-1, 1] of two incommensurable tones; its phase is u in [0, 1]."""
    return 0.65 * jnp.sin(2 * jnp.pi * (hz * time + u)) + 0.35 * jnp.sin(2 * jnp.pi * (1.618 * hz * time + 7 * u))


def _trunk(n: Array, time: Array, pelvis=(0.0, 0.0, 0.0), spine=(0.0, 0.0, 0.0), thorax=(0.0, 0.0, 0.0)) -> Array:
    """Trunk angles [4, 3]: the activity's own, a posture, a head that looks around (numbers 10-15)."""
    look = _span(n[10], 3, 28) * _wander(n[11], time, 0.17)
    nod = _span(n[12], -10, 12) + 5 * _wander(n[13], time, 0.21)
    sway = 2 * _wander(n[14], time, 0.13)
    posture = ((_span(n[14], -5, 4), 0, 0), (_span(n[15], -3, 5), sway, 0), (_span(n[13], -6, 4), -sway, 0.15 * look))
    rows = [
        jnp.stack([jnp.asarray(a + b) for a, b in zip(x, y, strict=True)])
        for x, y in zip((pelvis, spine, thorax), posture, strict=True)
    ]
    return jnp.stack([*rows, jnp.stack([nod, 0.1 * look, look])])


def _limbs(left: tuple, right: tuple) -> Array:
    return jnp.stack([jnp.stack([jnp.asarray(x, jnp.float32) for x in side]) for side in (left, right)])


def _hanging(n: Array, time: Array) -> tuple:
    drift = _wander(n[9], time, 0.15)
    return (_span(n[8], -8, 8) + 3 * drift, _span(n[9], 5, 12), _span(n[8], -5, 25), _span(n[9], 8, 28) + 4 * drift)


def _still(angles: AnglesDeg, planted: float = 1.0) -> Move:
    zero = jnp.zeros(())
    return Move(angles, zero, zero, zero, jnp.array(planted))


def _stand(n: Array, time: Array, body: Array) -> Move:
    """Standing: feet apart, one a little ahead, weight going from leg to leg."""
    shift = 3 * _wander(n[0], time, 0.12)
    wide, ahead, out, bend = _span(n[1], -2, 8), _span(n[2], -8, 8), _span(n[3], -18, 0), _span(n[4], 2, 9)
    legs = _limbs((bend / 2 + ahead, wide + shift, out, bend), (bend / 2 - ahead, wide - shift, out, bend))
    arms = _limbs(_hanging(n, time), _hanging(n[::-1], time))
    return _still(AnglesDeg(_trunk(n, time), legs, arms))


def _gait(name: str, phase: Array) -> Array:
    """A gait curve in degrees at a phase in strides, by its first four harmonics."""
    c = np.fft.rfft(_GAIT_DEG[name])[:5] / 10
    k = np.arange(1, 5)
    turns = 2 * jnp.pi * k * phase
    return c[0].real + 2 * jnp.sum(c[1:].real * jnp.cos(turns) - c[1:].imag * jnp.sin(turns))


def _walk(n: Array, time: Array, body: Array) -> Move:
    """Walking on an arc: arms swing against legs, thorax turns against pelvis, the stride gives the speed."""
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
    travel = speed * time
    return Move(angles, travel, curvature * travel, jnp.zeros(()), jnp.zeros(()))


def _turn(n: Array, time: Array, body: Array) -> Move:
    """Turning about on the spot with small steps."""
    rate, size = _span(n[0], 0.8, 1.1), _span(n[1], 12, 35)
    lift = [size * (0.5 + 0.5 * jnp.sin(2 * jnp.pi * (rate * time + n[2] + offset))) ** 2 for offset in (0, 0.5)]
    wide, out = _span(n[3], -1, 6), _span(n[4], -12, 0)
    legs = _limbs(*((3 + x, wide, out, 5 + 1.9 * x) for x in lift))
    arms = _limbs(_hanging(n, time), _hanging(n[::-1], time))
    heading = jnp.radians(_span(n[5], 30, 90)) * _wander(n[6], time, 0.14)
    return _still(AnglesDeg(_trunk(n, time), legs, arms), planted=0.0)._replace(heading=heading)


def _squat(n: Array, time: Array, body: Array) -> Move:
    """Squats, and stoops to the floor with less bent knees: thigh, shin and trunk share the way down."""
    down = (0.5 - 0.5 * jnp.cos(2 * jnp.pi * (time / _span(n[0], 2.2, 4.0) + n[1]))) * _span(n[2], 0.5, 1.0)
    stoop = 0.8 * n[3] ** 2
    thigh = (95 * (1 - stoop) - 8 * stoop) * down
    lean = (38 + 50 * stoop) * down
    trunk = _trunk(n, time, (0.5 * lean, 0.0, 0.0), (0.22 * lean, 0.0, 0.0), (0.28 * lean, 0.0, 0.0))
    leg = (thigh + 0.5 * lean + 3, _span(n[4], 4, 16), _span(n[5], -20, -6), 1.3 * thigh + 6)
    shoulder, abduction, inward, elbow = _hanging(n, time)
    arm = (shoulder + lean + 55 * n[6] * (1 - stoop) * down, abduction, inward, elbow)
    return _still(AnglesDeg(trunk, _limbs(leg, leg), _limbs(arm, arm)))


def _sit(n: Array, time: Array, body: Array) -> Move:
    """Sitting down on a chair and getting up, the trunk bent forward on the way."""
    seated = 0.5 + 0.5 * jnp.tanh(2 * jnp.sin(2 * jnp.pi * (time / _span(n[0], 6, 9) + n[1]))) / jnp.tanh(2.0)
    way = 4 * seated * (1 - seated)
    tilt, lean = _span(n[2], -16, 2) * seated + 20 * way, _span(n[3], 0, 12) * seated + 14 * way
    trunk = _trunk(n, time, (tilt, 0.0, 0.0), (lean, 0.0, 0.0), (0.6 * lean, 0.0, 0.0))
    thigh = _span(n[4], 78, 92) * seated
    knees = (thigh + (20 * way + _span(u, -14, 14) * seated) for u in (n[5], n[6]))
    legs = _limbs(*((thigh + tilt + 2, 3 + _span(n[7], -2, 14) * seated, -8, knee + 4) for knee in knees))
    lap = (_span(n[8], 12, 34), 6, _span(n[9], 10, 30), _span(n[6], 45, 75))
    arm = [a + (b - a) * seated for a, b in zip(_hanging(n, time), lap, strict=True)]
    return _still(AnglesDeg(trunk, legs, _limbs(tuple(arm), tuple(arm))))


def _jump(n: Array, time: Array, body: Array) -> Move:
    """Jumping up: crouch with the arms back, flight with the arms up, crouch on landing.

    The feet rise as h cos^2(pi tau / T), T = pi sqrt(2 h / g): smooth on the floor, in free fall at the top.
    """
    period, high = _span(n[0], 2.2, 3.0), _span(n[1], 0.08, 0.30)
    tau = jnp.mod(time + n[2] * period, period) - period / 2
    flight = jnp.pi * jnp.sqrt(2 * high / 9.81)
    lift = jnp.where(jnp.abs(tau) < flight / 2, high * jnp.cos(jnp.pi * tau / flight) ** 2, 0.0)

    def bump(centre: Array | float, width: float) -> Array:
        return jnp.exp(-0.5 * ((tau - centre) / width) ** 2)

    before, after = bump(-0.75 * flight, 0.16), bump(0.7 * flight, 0.15)
    crouch = _span(n[3], 0.45, 0.9) * before + _span(n[4], 0.35, 0.7) * after
    thigh, lean = 62 * crouch, 42 * crouch
    trunk = _trunk(n, time, (0.5 * lean, 0.0, 0.0), (0.2 * lean, 0.0, 0.0), (0.3 * lean, 0.0, 0.0))
    leg = (thigh + 0.5 * lean + 3, _span(n[5], 2, 8), -8, 1.4 * thigh + 6)
    up = bump(0.0, 0.22) * _span(n[6], 30, 140)
    arm = (_span(n[8], -8, 8) - 38 * before + up, 8 + 0.1 * up, 5, 18 + 25 * (before + after))
    return _still(AnglesDeg(trunk, _limbs(leg, leg), _limbs(arm, arm)))._replace(lift=lift)


_PROGRAMS: dict[str, Callable[[Array, Array, Array], Move]] = {
    "stand": _stand,
    "walk": _walk,
    "turn": _turn,
    "squat": _squat,
    "sit": _sit,
    "jump": _jump,
}
ACTIVITIES = tuple(_PROGRAMS)


def draw_style(key: Key, activity: str | None) -> Style:
    if activity is not None and activity not in ACTIVITIES:
        raise ValueError(f"activity must be None or one of {', '.join(ACTIVITIES)}; got {activity!r}")
    keys = jax.random.split(key, 6)
    index = jax.random.randint(keys[0], (), 0, len(ACTIVITIES))
    gesture = jax.random.randint(keys[1], (), -3, len(GESTURES))  # a good third keep to the activity's own arms
    return Style(
        index if activity is None else jnp.array(ACTIVITIES.index(activity), jnp.int32),
        jnp.maximum(gesture, 0),
        jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[jax.random.randint(keys[2], (), 0, 3)],
        jax.random.uniform(keys[3], (16,)),
        jax.random.uniform(keys[4], (2, 8)),
        jax.random.uniform(keys[5], (), minval=-jnp.pi, maxval=jnp.pi),
    )


def _gesturing_arms(style: Style, arms: Array, time: Array) -> Array:
    """Arms [2, 4] of an activity, now and then taken over by the gesture in a 5 s beat."""
    low, high, hz = (jnp.array(x, jnp.float32) for x in zip(*GESTURES.values(), strict=True))
    low, high, hz = low[style.gesture], high[style.gesture], hz[style.gesture]
    wave = jax.vmap(jax.vmap(lambda u: _wander(u, time, hz)))(style.arms[:, :4])
    target = low + (high - low) * (0.5 + 0.5 * (0.6 * wave + 0.8 * (style.arms[:, 4:] - 0.5)))
    beat = jnp.sin(2 * jnp.pi * (time / 5 - 0.25 + style.arms[0, 0]))
    weight = (0.5 + 0.5 * jnp.tanh(3 * beat + 1)) * style.gesturing * (style.gesture > 0)
    return arms + weight[:, None] * (target - arms)


def _move(style: Style, body: Array, time: Array) -> Move:
    move = jax.lax.switch(style.activity, list(_PROGRAMS.values()), style.numbers, time, body)
    angles = move.angles._replace(arms=_gesturing_arms(style, move.angles.arms, time))
    return move._replace(angles=clip_angles(angles))


def _turn_about_y(points: Array, angle: Array) -> Array:
    return jax.vmap(jaxlie.SO3.from_y_radians(angle).apply)(points)


@jax.jit
def _joints_at(style: Style, body: Array, time: Array) -> Array:
    """Joints [17, 3] of a performance at a time, the path starting at x = z = 0."""
    move = _move(style, body, time)
    joints = _turn_about_y(forward_kinematics(move.angles, body), style.heading + move.heading)
    ankles = joints[jnp.array([3, 6])]
    # A soft minimum over the feet, at most 1 cm above the hard one: no kink where one foot takes over.
    lowest = -0.015 * (jax.nn.logsumexp(-ankles[:, 1] / 0.015) - jnp.log(2.0))
    height = ANKLE_RATIO * (body[5] + body[6]) + move.lift - lowest
    chord = move.travel * jnp.sinc(move.heading / (2 * jnp.pi))  # of the arc travelled
    along = style.heading + move.heading / 2
    feet = move.planted * ankles.mean(0)
    return joints + jnp.stack([chord * jnp.sin(along) - feet[0], height, chord * jnp.cos(along) - feet[2]])


def sample_motion(key: Key, body: Array, num_frames: int, fps: float = 30.0, *, activity: str | None = None) -> Array:
    """Draw a short motion of a body: joints [F, 17, 3] metres, world frame, the first hip over x = z = 0.

    body: [17] bone lengths in metres. activity: one of ACTIVITIES, or None for any of them. The motion is a
    function of time that the key fixes and `fps` only samples. Raises ValueError for an unknown activity,
    fewer than 1 frame, or fps <= 0.
    """
    if num_frames < 1 or fps <= 0:
        raise ValueError(f"num_frames must be at least 1 and fps positive; got {num_frames} and {fps}")
    return film(draw_style(key, activity), body, num_frames, fps)


@functools.partial(jax.jit, static_argnames="num_frames")
def film(style: Style, body: Array, num_frames: int, fps: float) -> Array:
    joints = jax.vmap(lambda time: _joints_at(style, body, time))(jnp.arange(num_frames) / fps)
    return joints - joints[0, 0] * jnp.array([1.0, 0.0, 1.0])


def sample_pose(key: Key, body: Array, *, activity: str | None = None) -> Array:
    """Draw a pose, one instant of a motion: joints [17, 3] metres, world frame, hip over x = z = 0."""
    style_key, time_key = jax.random.split(key)
    joints = _joints_at(draw_style(style_key, activity), body, jax.random.uniform(time_key, maxval=10.0))
    return joints - joints[0] * jnp.array([1.0, 0.0, 1.0])
