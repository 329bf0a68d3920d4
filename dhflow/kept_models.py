"""The best networks of a search as ``.keras`` files beside its history."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from dhflow.errors import SearchError
from dhflow.flow.run_directory import attempt_path, run_path
from dhflow.result import Result
from dhflow.train.network.checkpoint import MODEL
from dhflow.trial import Trial, TrialStatus


def models_path(history: Path) -> Path:
    """Return the folder for models that belongs to a history file: ``H.h5.models``."""
    return history.with_name(history.name + ".models")


def keep_models(result: Result, n: int = 5, *, folder: str | Path | None = None, prune: bool = False) -> list[Path]:
    """Copy the models of the best trials beside the history.

    Parameters
    ----------
    result : Result
        Of trials that left a ``model.keras`` in their directories, as ``TrainingSettings(keep_model=True)`` does, and
        whose files were kept (``keep="all"``).
    n : int
        How many.
    folder : path, optional
        By default ``H.h5.models`` beside the history ``H.h5``; what an earlier call put there is replaced.
    prune : bool
        Remove the models of all trials from their directories then, also of those that failed or violate a constraint.

    Returns
    -------
    list of Path
        ``1-trial-17.keras``, … the best first; ``1-trial-17.json`` beside it tells its values and its config, as
        ``dhflow nas show --config`` reads it.

    Raises
    ------
    SearchError
        If the result has no history, or no trial has left a model.
    """
    if result.history is None:
        raise SearchError("models are kept beside a history, and this study has none: give search(…, history=…)")
    left = {each.trial_id: _model_of(result, each) for each in _ranked(result)}
    found = {trial_id: path for trial_id, path in left.items() if path.is_file()}
    if not found:
        raise SearchError(
            'no trial has left a model: train with TrainingSettings(keep_model=True), and keep="all" files of trials'
        )
    target = models_path(result.history) if folder is None else Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for old in [*target.glob("*-trial-*.keras"), *target.glob("*-trial-*.json")]:
        old.unlink()
    kept = []
    for place, (trial_id, path) in enumerate(list(found.items())[:n], 1):
        kept.append(Path(shutil.copyfile(path, target / f"{place}-trial-{trial_id}.keras")))
        trial = result.record.trials[trial_id]
        told = {"trial": trial_id, "values": dict(trial.values), "config": dict(trial.config)}
        kept[-1].with_suffix(".json").write_text(json.dumps(told, indent=2))
    if prune:
        for each in result.trials:
            for attempt in each.attempts:
                (attempt_path(run_path(result.history), each.trial_id, attempt.number) / MODEL).unlink(missing_ok=True)
    return kept


def _ranked(result: Result) -> list[Trial]:
    """Return the completed trials, those of the highest budget first, then by their losses."""
    done = [each for each in result.trials if each.status is TrialStatus.COMPLETED and result.is_feasible(each)]
    return sorted(done, key=lambda each: (-(each.budget or float("inf")), each.losses, each.trial_id))


def _model_of(result: Result, trial: Trial) -> Path:
    assert result.history is not None
    return attempt_path(run_path(result.history), trial.trial_id, max(1, len(trial.attempts))) / MODEL
