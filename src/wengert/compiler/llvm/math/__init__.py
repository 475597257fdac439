"""Mathematical functions as generated arithmetic: polynomials, bits and choices, for scalars and
vectors of any width alike. No library is called and nothing is looked up but, for huge angles, the
bits of 2/π. Zeros of both signs, subnormals, infinities and NaN are as in IEEE 754 and NumPy.

Light functions are written where they are used; heavy ones once in a module, for each type of
vector, and called (`once`). Some take float32 by way of float64 (marked *): few use them, and so
they are right but for the last rounding.

Largest errors found, in units in the last place; rounding the exact value costs 0.5. Over every
61st float32, and over millions of float64 (thousands for erf, erfc and erfinv), of all exponents:

    ========== ======= =======      ========== ======= =======      ========== ======= =======
    function   float32 float64      function   float32 float64      function   float32 float64
    ========== ======= =======      ========== ======= =======      ========== ======= =======
    exp          0.86    0.89       sin          1.52    0.78       sinh         1.59    1.62
    exp2         0.85    0.88       cos          1.51    0.76       cosh         1.31    1.33
    expm1        1.33    1.30       tan          1.37    1.29       tanh         1.68    1.87
    log          0.83    0.82       asin         1.15    1.10       asinh        1.68    1.61
    log2         0.88    0.88       acos         1.14    1.14       acosh        1.51    1.46
    log10        0.79    0.74       atan         1.33    1.37       atanh        1.59    1.49
    log1p        1.43    1.37       atan2        1.49    1.42       erf          1.15    1.06
    sigmoid      2.00    1.98       cbrt *       0.50    0.50       erfc *       1.74    1.64
    softplus     1.73    1.74       hypot *      0.50    0.50       erfinv *     0.50    1.75
    pow *        0.50    1.27
    ========== ======= =======      ========== ======= =======      ========== ======= =======

`fmod`, `remainder` and `floor_divide` are exact where NumPy's are. log Γ, its derivatives and those
of sinc follow the formulas of the reference, in float64: near their zeros they are as good as the
terms that cancel there. Without a fused multiply-add no error exceeds 2 either.
"""
