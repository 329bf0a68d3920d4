"""Search spaces: what may vary, when, and in which combinations."""

from __future__ import annotations

from dhflow.space.choice import Categorical, Constant, Ordinal
from dhflow.space.parameter import ARCHITECTURE, HYPERPARAMETER, Float, Integer, Normal, Parameter
from dhflow.space.rule import Constraint
from dhflow.space.space import SearchSpace

__all__ = [
    "ARCHITECTURE",
    "HYPERPARAMETER",
    "Categorical",
    "Constant",
    "Constraint",
    "Float",
    "Integer",
    "Normal",
    "Ordinal",
    "Parameter",
    "SearchSpace",
]
