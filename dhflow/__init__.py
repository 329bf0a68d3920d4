"""dhflow: a Parsl plugin for automated machine learning on HPC.

It searches hyperparameters and neural architectures asynchronously, on a laptop, a cluster or a
supercomputer, and keeps every trial in one HDF5 history. The names below are loaded on first use,
so importing dhflow costs little and loads none of the heavy packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dhflow.lazy import lazy_names

if TYPE_CHECKING:
    from dhflow.api import load as load
    from dhflow.api import search as search
    from dhflow.api import search_app as search_app
    from dhflow.comparison import Comparison as Comparison
    from dhflow.comparison import compare as compare
    from dhflow.errors import DhflowError as DhflowError
    from dhflow.flow.site import load_site as load_site
    from dhflow.kept_models import keep_models as keep_models
    from dhflow.post_training import retrain as retrain
    from dhflow.problem import Budget as Budget
    from dhflow.problem import Problem as Problem
    from dhflow.result import Result as Result
    from dhflow.searcher import Searcher as Searcher
    from dhflow.space import Categorical as Categorical
    from dhflow.space import Constant as Constant
    from dhflow.space import Float as Float
    from dhflow.space import Integer as Integer
    from dhflow.space import Normal as Normal
    from dhflow.space import Ordinal as Ordinal
    from dhflow.space import SearchSpace as SearchSpace
    from dhflow.study import Study as Study
    from dhflow.train import TrialContext as TrialContext
    from dhflow.trial import Trial as Trial
    from dhflow.trial import TrialStatus as TrialStatus

__version__ = "0.1.0"

_HOMES = {
    "Budget": "problem",
    "Categorical": "space",
    "compare": "comparison",
    "Comparison": "comparison",
    "Constant": "space",
    "DhflowError": "errors",
    "Float": "space",
    "Integer": "space",
    "keep_models": "kept_models",
    "load": "api",
    "load_site": "flow.site",
    "Normal": "space",
    "Ordinal": "space",
    "Problem": "problem",
    "Result": "result",
    "retrain": "post_training",
    "search": "api",
    "search_app": "api",
    "Searcher": "searcher",
    "SearchSpace": "space",
    "Study": "study",
    "Trial": "trial",
    "TrialContext": "train",
    "TrialStatus": "trial",
}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605 - the table above is the list

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
