"""Judging runs beside their siblings: what is found becomes notes for the history, commands, and trials to try."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from dhflow.errors import DhflowError
from dhflow.flow.advice import accepting, curves_of, own_budget
from dhflow.flow.command_desk import WatchedStudy
from dhflow.flow.message import Commanded, LoopEvent, Noted
from dhflow.flow.siblings import Siblings
from dhflow.flow.taking import AUTO
from dhflow.flow.watched import Watched
from dhflow.history.event import AttemptEnded
from dhflow.history.monitor_event import CommandTaken, FindingMade, RecordsKept
from dhflow.monitor.finding import Finding
from dhflow.monitor.line import to_json
from dhflow.monitor.rules import judge
from dhflow.monitor.stopper import STOPPER
from dhflow.monitor.surroundings import context_of
from dhflow.trial import Trial, TrialSource, TrialStatus

_log = logging.getLogger(__name__)

MOST_ENDED = 500
"""Ended attempts that wait to be judged; of more, the oldest are left to whoever asks for advice on them."""

_MOST_DEPTH = 3
"""Changes upon changes that ``adapt="auto"`` makes of one trial."""

_COMPARABLE = frozenset({TrialStatus.COMPLETED, TrialStatus.STOPPED})


class Judge:
    """Judges attempts, running and ended ones.

    Parameters
    ----------
    study : WatchedStudy
    post : callable
        Takes what is to be recorded or done.
    trials : mapping
        Every trial that is known, kept up to date by its owner.
    findings : dict
        What holds of trials, as last judged: written here.
    deadline : callable
        Seconds that the session has left, or None.
    """

    def __init__(
        self,
        study: WatchedStudy,
        post: Callable[[LoopEvent], None],
        *,
        trials: Mapping[int, Trial],
        findings: dict[int, list[Finding]],
        deadline: Callable[[], float | None],
    ) -> None:
        self._study = study
        self._post = post
        self._trials = trials
        self._findings = findings
        self._deadline = deadline
        self._siblings: Siblings | None = None
        self._later: list[tuple[Trial, AttemptEnded]] = []
        self._n_auto = sum(_is_auto(each) for each in study.record.trials.values())
        self._tried = {_tried_by(each) for each in study.record.trials.values()}

    def take_sibling(self, trial: Trial, event: AttemptEnded) -> None:
        """Take note of a trial that has ended: its curve is looked at when another one is judged."""
        self._later.append((trial, event))
        del self._later[:-MOST_ENDED]

    def judge_running(self, attempts: Iterable[Watched], until: float) -> None:
        """Judge those that are due, whoever waited longest first, while the clock of performance is before `until`."""
        due = [each for each in attempts if each.is_due]
        for watched in sorted(due, key=lambda each: each.judged_at):
            if time.perf_counter() > until:
                return
            self._try_to_judge(watched, is_over=False)

    def judge_ended(self, attempts: list[Watched], until: float) -> None:
        """Judge attempts a last time, and take them from the list, as :meth:`judge_running`."""
        while attempts and time.perf_counter() < until:
            watched = attempts.pop(0)
            if watched.has_reported:
                self._try_to_judge(watched, is_over=True)
            self.keep(watched)

    def keep(self, watched: Watched) -> None:
        """Have the history keep what an attempt has recorded, in brief."""
        detail = () if watched.keeper_is_home else tuple(map(to_json, watched.keeper.brief()))
        if detail:
            self._post(Noted([RecordsKept(watched.trial.trial_id, watched.attempt, detail)]))

    def _try_to_judge(self, watched: Watched, *, is_over: bool) -> None:
        try:
            self._judge(watched, is_over=is_over)
        except Exception:  # noqa: BLE001 - a rule or a user's stopper that fails on one run must not blind the watcher
            watched.give_up()
            _log.exception("trial %d cannot be judged: it is left alone", watched.trial.trial_id)

    def _judge(self, watched: Watched, *, is_over: bool) -> None:
        trial, records = watched.trial, watched.keeper.records
        context = context_of(
            records,
            self._study.objectives,
            config=trial.config,
            space=self._study.space,
            target=self._study.target,
            full_budget=own_budget(trial) or self._study.full_budget,
            time_left_s=None if is_over else self._time_left_s(watched),
            now=None if is_over else watched.now,
        )
        siblings = self._known_siblings()
        context = siblings.around(trial, context)
        watched.metric = context.metric
        judgement = judge(records, context)
        reason = None if is_over else self._study.policy.reason_to_stop(judgement, records, context)
        news = watched.judged(judgement, () if reason is None else (reason,))
        if not is_over:
            siblings.add_running(trial, records.readings)
        if news:
            now = time.time()
            self._post(Noted([FindingMade(trial.trial_id, watched.attempt, now, each) for each in news]))
        self._findings[trial.trial_id] = list(judgement.findings)
        if reason is not None and not watched.is_stopping:
            watched.is_stopping = True
            self._post(Commanded(self._stop(trial, reason)))
        self._maybe_try(trial, judgement.findings, is_over=is_over)

    def _stop(self, trial: Trial, reason: Finding) -> CommandTaken:
        origin = reason.rule if reason.rule.startswith(STOPPER) else f"policy:{self._study.policy.adapt}"
        return CommandTaken(
            time.time(), "stop", trial.trial_id, origin, {"rule": reason.rule, "text": reason.text, "step": reason.step}
        )

    def _maybe_try(self, trial: Trial, findings: Iterable[Finding], *, is_over: bool) -> None:
        policy = self._study.policy
        found = policy.change_to_try(list(findings), is_over=is_over)
        if found is None or self._n_auto >= policy.max_auto or self._depth(trial) >= _MOST_DEPTH:
            return
        key = trial.trial_id
        if key in self._tried:
            return
        try:
            command = accepting(trial, found[1].name, [found[0]], self._study.space, origin=AUTO)
        except DhflowError as error:
            _log.debug("a suggestion cannot be followed: %s", error)
            return
        self._tried.add(key)
        self._n_auto += 1
        self._post(Commanded(command))

    def _depth(self, trial: Trial) -> int:
        depth = 0
        advice = trial.meta.get("advice")
        while advice is not None:
            depth += 1
            parent = self._trials.get(advice.get("trial"))
            advice = None if parent is None else parent.meta.get("advice")
        return depth

    def _time_left_s(self, watched: Watched) -> float | None:
        left = (self._deadline(), watched.time_left_s)
        return min((each for each in left if each is not None), default=None)

    def _known_siblings(self) -> Siblings:
        if self._siblings is None:
            self._siblings = Siblings()
            self._add_earlier(self._siblings)
        for trial, event in self._later:
            if trial.is_finished:
                self._siblings.add_ended(trial, event.measurements)
        self._later.clear()
        return self._siblings

    def _add_earlier(self, siblings: Siblings) -> None:
        """Take the curves of earlier sessions; those of this one have come as events."""
        if self._study.history is None or len(self._study.record.sessions) < 2:
            return
        try:
            curves = curves_of(self._study.history)
        except (DhflowError, OSError) as error:
            _log.debug("curves of earlier sessions cannot be read: %s", error)
            return
        for trial_id, rows in curves:
            trial = self._trials.get(trial_id)
            if trial is not None and trial.status in _COMPARABLE:
                siblings.add_ended(trial, rows)


def _is_auto(trial: Trial) -> bool:
    return trial.source is TrialSource.ADVICE and trial.meta.get("advice", {}).get("by") == AUTO


def _tried_by(trial: Trial) -> int | None:
    return trial.meta["advice"].get("trial") if _is_auto(trial) else None
