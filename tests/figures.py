"""A standing figure of 17 joints, metres, y up, its hip at 0.9 m."""

import numpy as np

_MIDDLE = {0: (0, 0.9, 0), 7: (0, 1.12, 0), 8: (0, 1.38, 0), 9: (0, 1.48, 0.08), 10: (0, 1.62, 0.02)}
_LEFT = {4: (0.1, 0.9, 0), 5: (0.1, 0.5, 0.02), 6: (0.1, 0.08, 0)}
_LEFT |= {11: (0.18, 1.38, 0), 12: (0.25, 1.1, 0), 13: (0.25, 0.83, 0.05)}
_RIGHT = {j + (3 if j > 10 else -3): (-x, y, z) for j, (x, y, z) in _LEFT.items()}
STANDING = np.array([x for _, x in sorted((_MIDDLE | _LEFT | _RIGHT).items())])
