"""What every searcher must satisfy, as tests to inherit.

::

    class TestMySearcher(SearcherTests):
        def make_searcher(self, space, seed):
            return MySearcher(space, seed=seed)

Run the class with pytest; nothing else is needed. A searcher that may suggest a config twice on
purpose (a repeat, a promotion) sets ``distinct = False``.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dhflow.constraint import Constraint
from dhflow.errors import SearchError
from dhflow.searcher.base import Searcher
from dhflow.space import ARCHITECTURE, Categorical, Constant, Float, Integer, Ordinal, SearchSpace
from dhflow.testing.simulated import SimulatedStudy, run_simulated
from dhflow.trial import Suggestion, Trial, TrialStatus


def _some_product_is_small(config: dict[str, Any]) -> bool:
    return bool(config["x"] * config["k"] < 5.0)


def example_spaces() -> dict[str, SearchSpace]:
    """Return the spaces that searchers are tried on, by name."""
    mixed = {
        "x": Float(0.0, 1.0),
        "rate": Float(1e-5, 1e-1, log=True),
        "k": Integer(1, 9, group=ARCHITECTURE),
        "c": Categorical(["a", "b"], group=ARCHITECTURE),
    }
    return {
        "mixed": SearchSpace({**mixed, "size": Ordinal.geometric(8, 64, 2), "fixed": Constant(3)}),
        "conditional": SearchSpace(
            {
                **mixed,
                "momentum": Float(0.0, 0.99, when={"c": "a"}),
                "nesterov": Categorical([True, False], when={"c": "a"}),
                "decay": Float(1e-4, 1.0, log=True, when={"nesterov": True}),
            },
        ),
        "ruled": SearchSpace(mixed, forbidden=[{"c": "b", "k": [1, 2]}], constraints=[_some_product_is_small]),
        "grid of 64": SearchSpace({"i": Integer(1, 16), "o": Ordinal([1, 10, 100, 1000], group=ARCHITECTURE)}),
        "grid of 10": SearchSpace({"i": Integer(0, 4), "c": Categorical(["u", "v"], group=ARCHITECTURE)}),
        "one point": SearchSpace({"only": Constant("here"), "choice": Categorical([7], group=ARCHITECTURE)}),
    }


def loss_of(config: dict[str, Any]) -> float:
    """Return a smooth loss of any config: numbers by their distance from 1, on a logarithmic scale; words by length."""
    total = 0.0
    for name, value in config.items():
        number = value if isinstance(value, int | float) else len(str(value))
        total += abs(math.log(abs(number) + 1e-3) - 0.1 * len(name))
    return total


class SearcherTests:
    """The contract of searchers; inherit it and say how yours is made."""

    distinct: ClassVar[bool] = True
    """Whether a config is never suggested while it is pending or after it was tried."""
    n_trials: ClassVar[int] = 30
    """Trials of a typical run in these tests; more than the searcher's initial design."""

    @abstractmethod
    def make_searcher(self, space: SearchSpace, seed: int) -> Searcher:
        """Return a new searcher."""

    @pytest.fixture(params=list(example_spaces()))
    def space(self, request: pytest.FixtureRequest) -> SearchSpace:
        """Each of the example spaces in turn."""
        return example_spaces()[request.param]

    def _study(self, space: SearchSpace, seed: int = 3) -> SimulatedStudy:
        return SimulatedStudy(self.make_searcher(space, seed))

    def _run(self, space: SearchSpace, seed: int = 3, n_workers: int = 4) -> SimulatedStudy:
        searcher = self.make_searcher(space, seed)
        return run_simulated(searcher, loss_of, n_trials=self.n_trials, n_workers=n_workers)

    # Suggestions

    def test_suggestions_lie_in_the_space(self, space: SearchSpace) -> None:
        """Every suggestion is a valid config with plain JSON values, and its meta is JSON."""
        study = self._run(space)
        study.ask(8)
        assert study.trials
        for trial in study.trials.values():
            assert space.validate(trial.config) == trial.config
            assert trial.budget is None or trial.budget > 0

    def test_an_ask_returns_what_was_asked_for_at_most(self, space: SearchSpace) -> None:
        """Never more than `n`, all of them suggestions."""
        study = self._run(space)
        for n in (1, 5, 64):
            suggestions = study.searcher.ask(n, study.pending)
            assert len(suggestions) <= n
            assert all(isinstance(each, Suggestion) for each in suggestions)

    def test_asking_for_none_is_an_error(self) -> None:
        """An ask for fewer than one trial is a mistake of the caller."""
        searcher = self._study(example_spaces()["mixed"]).searcher
        with pytest.raises(SearchError):
            searcher.ask(0)

    def test_64_at_once_are_distinct(self) -> None:
        """Before any result and after some, 64 suggestions at once are 64 configs."""
        study = self._study(example_spaces()["mixed"])
        assert _n_configs(study.ask(64)) == 64
        for trial in study.pending[: self.n_trials]:
            study.tell(trial, loss_of(dict(trial.config)))
        fresh = study.ask(64)
        assert _n_configs(fresh) == 64
        if self.distinct:
            assert _n_configs(list(study.trials.values())) == len(study.trials)

    def test_no_config_twice(self, space: SearchSpace) -> None:
        """Neither a tried nor a pending config is suggested again."""
        if not self.distinct:
            pytest.skip("this searcher may repeat configs on purpose")
        study = self._run(space, n_workers=8)
        study.ask(64)
        assert _n_configs(list(study.trials.values())) == len(study.trials)

    @pytest.mark.parametrize("name", ["one point", "grid of 10", "grid of 64"])
    @pytest.mark.parametrize("at_once", [1, 64])
    def test_a_finite_space_is_exhausted(self, name: str, at_once: int) -> None:
        """All configs of a small space are found, then an ask returns nothing, and goes on returning nothing."""
        if not self.distinct:
            pytest.skip("this searcher may repeat configs on purpose")
        space = example_spaces()[name]
        study = self._study(space)
        for _ in range(int(space.n_configs)):
            for trial in study.ask(at_once):
                study.tell(trial, loss_of(dict(trial.config)))
        assert _n_configs(list(study.trials.values())) == space.n_configs
        assert study.ask(at_once) == []
        assert study.ask(at_once) == []

    @pytest.mark.parametrize("name", ["one point", "grid of 10", "grid of 64"])
    @pytest.mark.parametrize("at_once", [1, 64])
    def test_a_finite_space_is_searched_up_to_the_full_budget(self, name: str, at_once: int) -> None:
        """Over budgets: each config of a small space starts once, one at least gets the full budget, then it ends."""
        space = example_spaces()[name]
        study = self._study(space)
        if not study.searcher.needs_budget:
            pytest.skip("this searcher spends no budgets")
        rng = np.random.default_rng(0)
        while study.ask(at_once) or study.pending:
            trial = study.pending[int(rng.integers(len(study.pending)))]
            study.tell(trial, loss_of(dict(trial.config)))
            assert len(study.trials) <= 10 * space.n_configs
        trials = list(study.trials.values())
        started = [each for each in trials if each.parent_id is None]
        assert _n_configs(started) == len(started) == space.n_configs
        parents = [each.parent_id for each in trials if each.parent_id is not None]
        assert len(parents) == len(set(parents))
        assert any(each.budget in (None, study.searcher.full_budget) for each in trials)
        assert study.ask(at_once) == []

    @pytest.mark.parametrize("n_pending", [0, 1, 7, 64])
    def test_any_number_may_be_pending(self, n_pending: int) -> None:
        """From none to 64 pending trials, the next suggestions come."""
        study = self._run(example_spaces()["conditional"])
        if n_pending:
            study.ask(n_pending)
        assert len(study.pending) == n_pending
        assert len(study.ask(3)) == 3

    # Reproducibility

    def test_the_seed_fixes_the_search(self, space: SearchSpace) -> None:
        """Equal seeds give equal searches."""
        assert _configs(self._run(space, seed=5)) == _configs(self._run(space, seed=5))

    def test_another_seed_is_another_search(self) -> None:
        """Different seeds give different searches."""
        space = example_spaces()["mixed"]
        assert _configs(self._run(space, seed=5)) != _configs(self._run(space, seed=6))

    def test_no_global_generator_is_touched(self) -> None:
        """The generators of `random` and `numpy.random` stay as they were, and do not matter."""
        space = example_spaces()["conditional"]
        first = _configs(self._run(space))  # what is imported for the first time may draw random numbers
        before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
        assert _configs(self._run(space)) == first
        assert (random.getstate(), repr(np.random.get_state())) == before  # noqa: NPY002
        random.seed(99)
        np.random.seed(99)  # noqa: NPY002
        assert _configs(self._run(space)) == first

    def test_the_same_in_another_process(self) -> None:
        """A search in a fresh process is the same search."""
        module = sys.modules[type(self).__module__]
        cloudpickle.register_pickle_by_value(module)
        try:
            job = cloudpickle.dumps(lambda: _configs(self._run(example_spaces()["conditional"])))
        finally:
            cloudpickle.unregister_pickle_by_value(module)
        code = "import sys, json, cloudpickle; print(json.dumps(cloudpickle.load(sys.stdin.buffer)()))"
        done = subprocess.run([sys.executable, "-c", code], input=job, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout) == _configs(self._run(example_spaces()["conditional"]))

    # Tells

    def test_telling_twice_changes_nothing(self) -> None:
        """A trial told again, at once or later, has no effect."""
        space = example_spaces()["conditional"]
        once, twice = self._study(space), self._study(space)
        for _ in range(self.n_trials // 4):
            for study in (once, twice):
                for trial in study.ask(4):
                    study.tell(trial, loss_of(dict(trial.config)))
            twice.searcher.tell(list(twice.trials.values()))
        assert _configs(once) == _configs(twice)

    def test_the_order_of_tells_between_two_asks_is_irrelevant(self) -> None:
        """Outcomes that arrive between two asks may come in any order, together or one by one."""
        space = example_spaces()["conditional"]
        forward, backward = self._study(space), self._study(space)
        for _ in range(self.n_trials // 4):
            told = [forward.finish(each, loss_of(dict(each.config))) for each in forward.ask(4)]
            forward.searcher.tell(told)
            for trial in reversed(backward.ask(4)):
                backward.tell(trial, loss_of(dict(trial.config)))
        assert _configs(forward) == _configs(backward)

    def test_unfinished_trials_cannot_be_told(self) -> None:
        """Telling a pending trial is a mistake of the caller."""
        study = self._study(example_spaces()["mixed"])
        trial = study.ask()[0]
        with pytest.raises(SearchError):
            study.searcher.tell([trial])

    def test_unknown_trials_are_taken_in(self, space: SearchSpace) -> None:
        """Trials that the searcher never suggested are told before, between and among its own."""
        study = self._study(space)
        rng = np.random.default_rng(11)
        for _ in range(self.n_trials // 4):
            config = space.sample(1, rng)[0]
            study.add(config, loss_of(config))
            for trial in study.ask(2):
                study.tell(trial, loss_of(dict(trial.config)))
        study.ask()
        own = [each for each in study.trials.values() if each.ask_number is not None]
        assert all(space.validate(each.config) == each.config for each in own)

    @pytest.mark.parametrize("how", ["failed", "nan", "infinite", "lost", "stopped", "stopped without a value"])
    @pytest.mark.parametrize("share", [0.3, 1.0])
    def test_trials_without_a_proper_value_do_no_harm(self, how: str, share: float) -> None:
        """Some or all trials fail, are lost, are stopped or have no finite value: the search goes on."""
        space = example_spaces()["conditional"]
        study = self._study(space)
        rng = np.random.default_rng(0)
        for _ in range(self.n_trials // 2):
            for trial in study.ask(2):
                if rng.random() < share:
                    study.tell(trial, *_BAD_OUTCOMES[how])
                else:
                    study.tell(trial, loss_of(dict(trial.config)))
        assert len(study.ask(4)) == 4
        assert all(space.validate(each.config) == each.config for each in study.trials.values())

    def test_a_trial_that_violates_a_constraint_is_as_a_failed_one(self) -> None:
        """A searcher that does not model constraints learns of it what it would learn of a failure."""
        space = example_spaces()["conditional"]
        violating, failing = self._study(space), self._study(space)
        if violating.searcher.models_constraints:
            pytest.skip("this searcher learns more of such a trial than that it failed")
        violating.searcher.constraints = (Constraint("size", "<=", 1.0),)
        rng = np.random.default_rng(0)
        for _ in range(self.n_trials // 4):
            for trial, twin in zip(violating.ask(4), failing.ask(4), strict=True):
                loss, size = loss_of(dict(trial.config)), float(rng.choice([0.5, 2.0]))
                violating.tell(replace(trial, metrics={"size": size}), loss)
                failing.tell(replace(twin, metrics={"size": size}), loss if size <= 1.0 else None)
        assert _configs(violating) == _configs(failing)

    def test_what_it_is_given_is_not_changed(self) -> None:
        """The list of pending trials and the trials themselves stay as they are."""
        study = self._run(example_spaces()["conditional"])
        study.ask(5)
        pending = study.pending
        before = [replace(each) for each in pending]
        study.searcher.ask(3, pending)
        assert pending == before

    # Resuming

    @pytest.mark.parametrize("n_done", [0, 3, 25])
    def test_a_restored_searcher_goes_on_as_if_nothing_happened(self, n_done: int) -> None:
        """A new searcher that was told the same trials and took `state()` back asks the same."""
        study = self._run_until(n_done)
        snapshot = json.loads(json.dumps(study.searcher.state()))
        other = self.make_searcher(study.searcher.space, 3)
        study.tell_again(other)
        other.restore(snapshot)
        assert other.ask(3, study.pending) == study.searcher.ask(3, study.pending)
        assert other.ask(1, study.pending) == study.searcher.ask(1, study.pending)

    @pytest.mark.parametrize("n_done", [0, 3, 25])
    def test_a_search_can_be_replayed_from_its_record(self, n_done: int) -> None:
        """A new searcher that is shown which asks had seen what goes on as the first one did."""
        study = self._run_until(n_done)
        other = self.make_searcher(study.searcher.space, 3)
        study.tell_again(other)
        assert other.n_asks == study.searcher.n_asks
        assert other.ask(3, study.pending) == study.searcher.ask(3, study.pending)

    def _run_until(self, n_done: int) -> SimulatedStudy:
        """Return a study with that many finished trials and five pending ones."""
        study = self._study(example_spaces()["conditional"])
        study.ask(5)
        rng = np.random.default_rng(1)
        for _ in range(n_done):
            trial = study.pending[int(rng.integers(len(study.pending)))]
            study.tell(trial, None if rng.random() < 0.1 else loss_of(dict(trial.config)))
            study.ask(1)
        return study

    # Any course of events

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_any_course_of_events_keeps_the_laws(self, data: st.DataObject) -> None:
        """Whatever is asked and told in whatever order: valid and distinct configs, and the same course again."""
        name = data.draw(st.sampled_from(["mixed", "conditional", "ruled", "grid of 64"]))
        space = example_spaces()[name]
        first, again = self._study(space), self._study(space)
        for _ in range(data.draw(st.integers(1, 12))):
            n = data.draw(st.sampled_from([0, 1, 2, 9]))
            if n:
                assert _plain(first.ask(n)) == _plain(again.ask(n))
            waiting = [each.trial_id for each in first.pending]
            for trial_id in data.draw(st.permutations(waiting))[: data.draw(st.integers(0, 12))]:
                loss = data.draw(st.none() | st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1e300]))
                first.tell(first.trials[trial_id], loss)
                again.tell(again.trials[trial_id], loss)
        configs = list(first.trials.values())
        assert all(space.validate(each.config) == each.config for each in configs)
        if self.distinct:
            assert _n_configs(configs) == len(configs)


_BAD_OUTCOMES: dict[str, tuple[float | None, TrialStatus]] = {
    "failed": (None, TrialStatus.FAILED),
    "nan": (math.nan, TrialStatus.COMPLETED),
    "infinite": (math.inf, TrialStatus.COMPLETED),
    "lost": (None, TrialStatus.LOST),
    "stopped": (2.5, TrialStatus.STOPPED),
    "stopped without a value": (None, TrialStatus.STOPPED),
}


def _plain(trials: list[Trial]) -> list[dict[str, Any]]:
    return [dict(each.config) for each in trials]


def _configs(study: SimulatedStudy) -> list[dict[str, Any]]:
    return _plain(list(study.trials.values()))


def _n_configs(trials: list[Trial]) -> int:
    return len({json.dumps(each, sort_keys=True) for each in _plain(trials)})
