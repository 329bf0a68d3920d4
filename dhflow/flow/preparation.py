"""From the user's objective to calls on a pool: checked and packed before any worker starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dhflow.errors import SearchError
from dhflow.flow.call import AppCall, Call, EvaluateCall
from dhflow.flow.globus import RESULT_LIMIT_BYTES, TASK_LIMIT_BYTES
from dhflow.flow.parts import StudyParts
from dhflow.flow.pool import Pool, PoolPlan
from dhflow.flow.resources import check_resources
from dhflow.flow.run_directory import RunDirectory
from dhflow.flow.settings import DEFAULT_SITE, RunSettings
from dhflow.train import CommandSource, EvaluationSettings, FunctionSource, make_source
from dhflow.train.sharing import shared_objective

CallMaker = Callable[[Pool, Mapping[str, Any] | None], Call]
"""Makes the call on a pool; the second argument is the address of the session's channel, if it listens."""


@contextmanager
def prepared_call(
    objective: Callable[..., Any] | str,
    parts: StudyParts,
    settings: RunSettings,
    directory: RunDirectory,
    plan: PoolPlan,
) -> Iterator[CallMaker]:
    """Check the objective and pack it for shipping, before any worker starts; give what makes the call on a pool.

    Raises
    ------
    ExecutionError
        If the objective cannot be shipped, or is too large for workers that share no files.
    SearchError
        If an option does not go with this kind of objective.
    """
    if is_parsl_app(objective):
        for name in ("timeout_s", "per_worker", "resources"):
            if getattr(settings, name) is not None:
                raise SearchError(f"{name} does not work with a Parsl app as the objective: pass the plain function")
        yield lambda *_: AppCall(objective, parts.objectives, parts.constraints, dict(settings.arguments))
        return
    with ExitStack() as stack:
        if plan.is_in_process and not isinstance(objective, str):
            sharing = shared_objective(objective, settings.arguments, settings.per_worker)
            source: FunctionSource | CommandSource = stack.enter_context(sharing)
        else:
            source = make_source(
                objective,
                names=parts.space_names,
                conditional=parts.conditional_names,
                arguments=settings.arguments,
                per_worker=settings.per_worker,
                directory=directory.objectives if plan.shares_files else None,
                limit_bytes=None if plan.shares_files else TASK_LIMIT_BYTES,
            )
        evaluation = EvaluationSettings(
            objectives=parts.objectives,
            source=source,
            timeout_s=settings.timeout_s,
            output_limit_bytes=settings.output_limit_bytes,
            full_budget=parts.full_budget,
            workers=str(directory.workers) if plan.shares_files else None,
            constraints=parts.constraints,
            result_limit_bytes=None if plan.shares_files else RESULT_LIMIT_BYTES,
            policy=None if plan.shares_files else settings.policy,
            space=None if plan.shares_files else parts.space.to_json(),
        )

        def call_on(pool: Pool, channel: Mapping[str, Any] | None) -> Call:
            check_resources(settings.resources, parts.space_names, pool)
            return EvaluateCall(pool, replace(evaluation, channel=channel), directory, settings.resources)

        yield call_on


def pool_settings(objective: Callable[..., Any] | str, settings: RunSettings) -> RunSettings:
    """Return the settings with the pool on which this objective really runs.

    A Parsl app brings its own kernel and executors; they say how many trials run at once.

    Raises
    ------
    SearchError
        If a site is named beside an app, or the app's kernel is not loaded.
    """
    if not is_parsl_app(objective) or not isinstance(settings.site, str | Path):
        return settings
    if settings.site != DEFAULT_SITE or settings.site_set:
        raise SearchError("a Parsl app runs on its own kernel: leave the site out, or pass the plain function")
    import parsl
    from parsl.errors import NoDataFlowKernelError

    app: Any = objective
    try:
        kernel = app.data_flow_kernel or parsl.dfk()
    except NoDataFlowKernelError as error:
        raise SearchError("the objective is a Parsl app and no kernel is loaded: call parsl.load(...) first") from error
    labels = None if app.executors == "all" else list(app.executors)
    return replace(settings, site=kernel, executors=settings.executors or labels)


def is_parsl_app(objective: object) -> bool:
    """Tell whether an objective is a Parsl app; bash apps, whose result is an exit code, are refused."""
    if "parsl" not in sys.modules:
        return False
    from parsl.app.app import AppBase
    from parsl.app.bash import BashApp

    if isinstance(objective, BashApp):
        raise SearchError(
            "a bash_app returns only an exit code: pass the command itself, "
            'for example search("python train.py --lr {learning_rate}", space)'
        )
    return isinstance(objective, AppBase)
