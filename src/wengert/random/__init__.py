"""Random numbers: counter-based, seedable, splittable, the same on every run.

A draw takes its bits from `key=` (functional: same key, same numbers), from `generator=` (a stream
that moves on), or, with neither, from the default generator, which `wg.random.seed` seeds.
"""

from wengert.random.continuous import *
from wengert.random.discrete import *
from wengert.random.families import *
from wengert.random.generator import *
from wengert.random.matrices import *
