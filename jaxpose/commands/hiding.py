"""What --hide means: joints by name, parts of the body, and a random few of the limbs' joints for every pose.

--hide=left_knee,right_arm,random:2
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.recipes.gfpose import hide_random_joints, hideable_joints

_PARTS = ("right_leg", "left_leg", "left_arm", "right_arm", "trunk")  # the order of Skeleton.parts
_STREAM = 2**31  # folded into the seed's key: the blocks of poses take the small numbers


class Hide(NamedTuple):
    """Joints that are hidden in every pose, and how many knees, ankles, elbows and wrists more, drawn for each."""

    skeleton: Skeleton
    always: tuple[int, ...] = ()
    num_random: int = 0

    def mask(self, seed: int, num: int) -> np.ndarray:
        """[num, J] bool, True where hidden; pose n's draw does not depend on how many there are."""
        hidden = np.zeros((num, len(self.skeleton.joints)), bool)
        hidden[:, list(self.always)] = True
        if self.num_random:
            key = jax.random.fold_in(jax.random.key(seed), _STREAM)
            keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(num))
            visible = jax.vmap(lambda k: hide_random_joints(k, self.num_random, self.skeleton))(keys)
            hidden |= np.asarray(visible) == 0
        return hidden


def parse_hide(text: str | None, skeleton: Skeleton) -> Hide:
    """The meaning of --hide for a joint set; ValueError for a name that is none of its joints or parts."""
    limbs = hideable_joints(skeleton)
    parts = dict(zip(_PARTS, skeleton.parts, strict=True))
    always: set[int] = set()
    num_random = 0
    for name in text.split(",") if text is not None else ():
        kind, _, count = name.strip().partition(":")
        if kind == "random":
            if num_random or not count.isdecimal() or not 1 <= int(count) <= len(limbs):
                raise ValueError(f"--hide: got {name!r}; legal is random:K, once, with K from 1 to {len(limbs)}")
            num_random = int(count)
        elif name.strip() in parts:
            always |= {*parts[name.strip()]}
        elif name.strip() in skeleton.joints:
            always.add(skeleton.joints.index(name.strip()))
        else:
            raise ValueError(
                f"--hide: got {name!r}; legal are random:K, the parts {', '.join(_PARTS)} and the joints "
                f"{', '.join(skeleton.joints)}"
            )
    return Hide(skeleton, tuple(sorted(always)), num_random)
