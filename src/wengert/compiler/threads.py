"""How many threads compiled programs use."""

from __future__ import annotations

import operator
import os
from functools import lru_cache

from wengert.core.errors import ArgumentError, DtypeError
from wengert.system import cores

MAX_THREADS = 256
VARIABLE = "WENGERT_NUM_THREADS"

_chosen: int | None = None


def get_num_threads() -> int:
    """The number of threads that compiled programs use.

    It is what `set_num_threads` was given, else the environment variable WENGERT_NUM_THREADS, else
    the number of processors that this process may use: those of its affinity mask, within the time
    that its container grants. The last two are looked up when they are first needed.

    Returns
    -------
    int
        at least 1

    Raises
    ------
    ArgumentError
        if WENGERT_NUM_THREADS is no whole number from 1 to 256.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.get_num_threads() >= 1
    True
    """
    return _default() if _chosen is None else _chosen


def set_num_threads(n: int | None) -> None:
    """Choose the number of threads that compiled programs use from now on.

    Results do not depend on it, not in a single bit. Programs of two Python threads share the same
    workers: the one that comes second runs without them.

    Parameters
    ----------
    n : int or None
        from 1 to 256; None returns to the default of `get_num_threads`

    Raises
    ------
    ArgumentError
        if n is not from 1 to 256.
    DtypeError
        if n is no whole number.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.set_num_threads(1)
    >>> wg.get_num_threads()
    1
    >>> wg.set_num_threads(None)
    """
    global _chosen
    if n is None:
        _chosen = None
        return
    try:
        if isinstance(n, bool):
            raise TypeError
        count = operator.index(n)
    except TypeError:
        raise DtypeError(
            "set_num_threads",
            "the number of threads is a whole number",
            met=f"{n!r} ({type(n).__name__})",
            fix="pass an int, or None for the default",
        ) from None
    if not 1 <= count <= MAX_THREADS:
        raise ArgumentError(
            "set_num_threads",
            f"the number of threads is from 1 to {MAX_THREADS}",
            met=str(count),
            fix="wg.set_num_threads(None) takes as many as there are processors for this process",
        )
    _chosen = count


@lru_cache(maxsize=1)
def _default() -> int:
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return min(int(cores()["usable"] or 1), MAX_THREADS)
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= MAX_THREADS):
        raise ArgumentError(
            "get_num_threads",
            f"the environment variable {VARIABLE} is a whole number from 1 to {MAX_THREADS}",
            met=f"{VARIABLE}={given!r}",
            fix="correct it, unset it, or call wg.set_num_threads (which it cannot overrule)",
        )
    return int(given)
