"""The array functions, under the names of the array API standard 2024.12, and what NumPy adds.

Each module of this package lists its public functions in `__all__`; they all become `wengert.*`.
"""

from wengert.namespaces.comparison import *
from wengert.namespaces.conversion import *
from wengert.namespaces.creation import *
from wengert.namespaces.cumulative import *
from wengert.namespaces.datatypes import *
from wengert.namespaces.elementwise import *
from wengert.namespaces.functions import *
from wengert.namespaces.indexing import *
from wengert.namespaces.info import *
from wengert.namespaces.joining import *
from wengert.namespaces.linear import *
from wengert.namespaces.manipulation import *
from wengert.namespaces.rearranging import *
from wengert.namespaces.reductions import *
from wengert.namespaces.searching import *
from wengert.namespaces.segments import *
from wengert.namespaces.sets import *
from wengert.namespaces.sorting import *
from wengert.namespaces.special import *
from wengert.namespaces.statistics import *
from wengert.namespaces.windows import *
