"""Every op of the registry against every property in `checks`. For one op: `-k cholesky`."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest

from tests.registry import checks
from wengert.core.op import REGISTRY, Op, Rule
from wengert.ops.elementwise import mul, neg

PAIRS = [
    pytest.param(op, check, id=f"{op.name}-{check.__name__.removeprefix('check_')}")
    for op in checks.called_ops()
    for check in checks.checks_of(op)
]


@pytest.mark.parametrize(("op", "check"), PAIRS)
def test_op(op: Op, check: Any) -> None:
    check(op)


def test_exemptions_name_ops_that_exist() -> None:
    for table in (checks.NOT_CALLED, checks.NEVER_WRONG, checks.ABSORBS_NAN, checks.NO_HALF):
        assert set(table) <= set(REGISTRY)


# -- the checks have teeth: each of these breaks one thing in a copy of an op --------------------


def broken(op: Op, **changes: Any) -> Op:
    """A copy of an op, outside the registry, with some attributes replaced."""
    damaged = copy.copy(op)
    for name, value in changes.items():
        setattr(damaged, name, value)
    return damaged


def rule(f: Any) -> Rule:
    return Rule(f, ("x", "y"))


HALF = rule(lambda g, y: mul(mul(g, y), 0.5))  # a wrong derivative
SECOND = rule(lambda g, x: mul(g, x))  # the right one of `mul` for its second operand
FLIPPED = rule(lambda g, y: neg(mul(g, y)))


def teeth() -> list[Any]:
    mul_, sum_ = REGISTRY["mul"], REGISTRY["sum"]
    damages: dict[str, tuple[Op, dict[str, Any], Any]] = {
        "no batch rule": (mul_, {"batch_rule": None}, checks.check_declaration),
        "no shape rule": (mul_, {"infer": None}, checks.check_declaration),
        "no samples": (mul_, {"samples": lambda rng: []}, checks.check_declaration),
        "one vjp rule missing": (mul_, {"vjps": (None, SECOND)}, checks.check_declaration),
        "all jvp rules missing": (mul_, {"jvps": ()}, checks.check_declaration),
        "transpose missing": (sum_, {"vjps": ()}, checks.check_declaration),
        "wrong vjp": (mul_, {"vjps": (HALF, SECOND)}, checks.check_gradient),
        "modes disagree": (mul_, {"jvps": (FLIPPED, SECOND)}, checks.check_duality),
        "a value that is not kept": (
            mul_,
            {"keeping": lambda tracked: ((False, False), False), "kept": {}},
            checks.check_each_operand_alone,
        ),
        "second order": (mul_, {"vjps": (HALF, SECOND)}, checks.check_second_order),
        "wrong shape rule": (
            mul_,
            {"infer": lambda *s, **p: checks.Spec((7,), s[0].dtype)},
            checks.check_infer,
        ),
        "wrong batching": (
            mul_,
            {"batch_rule": lambda size, args, batched: neg(mul(*args))},
            checks.check_batching,
        ),
        "error of another class": (
            mul_,
            {"samples": lambda rng: [checks.Wrong(((),), {}, KeyError, "")]},
            checks.check_errors,
        ),
        "widened dtype": (
            neg,
            {"reference": lambda x: (-x).astype("float64")},
            checks.check_dtypes,
        ),
        "NaN swallowed": (neg, {"reference": lambda x: np.nan_to_num(-x)}, checks.check_not_finite),
    }
    return [
        pytest.param(broken(op, **changes), check, id=name)
        for name, (op, changes, check) in damages.items()
    ]


@pytest.mark.parametrize(("op", "check"), teeth())
def test_checks_have_teeth(op: Op, check: Any) -> None:
    with pytest.raises(AssertionError):
        check(op)


def test_a_rule_that_is_removed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mul, "vjps", (None, mul.vjps[1]))
    with pytest.raises(AssertionError, match=re.escape("operand 0 lacks one of its two rules")):
        checks.check_declaration(mul)
    with pytest.raises(AssertionError, match="gradient of floating operand 0"):
        checks.check_gradient(mul)


def test_an_op_without_derivative_may_not_track() -> None:
    with pytest.raises(AssertionError, match="the result is tracked"):
        checks.check_untracked(mul)
