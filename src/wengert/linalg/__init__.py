"""Linear algebra, under the names of the array API standard 2024.12 and of NumPy.

Matrices are the last two axes; all axes before them are stacks. Everything is differentiable in
both modes and to second order at least; what that means where a derivative does not exist (a
repeated singular value, a change of rank) stands with each function. float32 stays float32, half
precision is computed in float32, integers become the default float.
"""

from wengert.linalg.factorize import (
    EighResult,
    QRResult,
    SVDResult,
    cholesky,
    eigh,
    eigvalsh,
    qr,
    svd,
    svdvals,
)
from wengert.linalg.measure import (
    SlogdetResult,
    cond,
    det,
    matrix_norm,
    matrix_rank,
    norm,
    slogdet,
    trace,
    vector_norm,
)
from wengert.linalg.powers import diagonal, expm, matrix_power, multi_dot
from wengert.linalg.solve import (
    LstsqResult,
    cholesky_solve,
    inv,
    lstsq,
    pinv,
    solve,
    solve_triangular,
    tensorinv,
    tensorsolve,
)
from wengert.namespaces.linear import cross, matmul, matrix_transpose, outer, tensordot, vecdot

__all__ = [
    "EighResult",
    "LstsqResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cholesky",
    "cholesky_solve",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "expm",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]
