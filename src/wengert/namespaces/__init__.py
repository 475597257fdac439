"""The array functions, under the names of the array API standard 2024.12, and what NumPy adds.

Each module of this package lists its public functions in `__all__`; they all become `wengert.*`.
"""

from wengert.namespaces import (
    comparison,
    conversion,
    creation,
    cumulative,
    datatypes,
    elementwise,
    functions,
    indexing,
    info,
    joining,
    linear,
    manipulation,
    rearranging,
    reductions,
    searching,
    segments,
    sets,
    sorting,
    special,
    statistics,
    windows,
)
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

__all__: list[str] = []
__all__ += comparison.__all__
__all__ += conversion.__all__
__all__ += creation.__all__
__all__ += cumulative.__all__
__all__ += datatypes.__all__
__all__ += elementwise.__all__
__all__ += functions.__all__
__all__ += indexing.__all__
__all__ += info.__all__
__all__ += joining.__all__
__all__ += linear.__all__
__all__ += manipulation.__all__
__all__ += rearranging.__all__
__all__ += reductions.__all__
__all__ += searching.__all__
__all__ += segments.__all__
__all__ += sets.__all__
__all__ += sorting.__all__
__all__ += special.__all__
__all__ += statistics.__all__
__all__ += windows.__all__
