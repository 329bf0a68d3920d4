"""AgEBO: ageing evolution of architectures, Bayesian optimisation of the hyperparameters of each.

Notation
--------
d : parameters;  X : (k, d) encoded configs, snapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dhflow.errors import SearchError
from dhflow.searcher.candidate import PinnedCandidates
from dhflow.searcher.distinct import OWN_DRAWS, Taken
from dhflow.searcher.evidence import read_evidence
from dhflow.searcher.evolution import RegularizedEvolution
from dhflow.searcher.features import Features
from dhflow.searcher.option import check_choice, check_number
from dhflow.searcher.proposer import Multipoint, Proposer, ProposerOptions
from dhflow.searcher.scoring import KappaSchedule
from dhflow.space import SearchSpace
from dhflow.surrogate.kind import SURROGATES, SurrogateKind, can_be_conditioned, make_surrogate, packages_of, row_limit
from dhflow.surrogate.training import TrainingSet
from dhflow.trial import Suggestion, Trial

FloatArray = npt.NDArray[np.float64]

MAX_TRAINING = 600
N_CANDIDATES = 200
_TRIED = 64
"""Hyperparameters drawn to see whether an architecture has any that are allowed and untried."""


class AgEbo(RegularizedEvolution):
    """Ageing evolution of architectures, each child with the hyperparameters that a surrogate likes best for it.

    Egele, Balaprakash, Guyon, Vishwanath, Xia, Stevens and Liu 2021 (*AgEBO-Tabular: joint neural architecture and
    hyperparameter search with autotuned data-parallel training for tabular data*, SC, algorithm 1).

    Parameters
    ----------
    space : SearchSpace
    seed : int
    architecture : sequence of str, or str, optional
        Names of the parameters that decide the architecture, as a list or with commas between them; those of the
        group ``"architecture"`` unless given.
    population, tournament_size, n_initial : int
        See :class:`~dhflow.searcher.evolution.RegularizedEvolution`; architectures are random until `n_initial`
        trials have completed.
    surrogate : str
        One of those of :class:`~dhflow.searcher.ambs.Ambs` but "mixed".
    kappa : float
        Weight of the uncertainty in the acquisition, the lower confidence bound ``mean - kappa * std``. As published
        next to nothing: what is new in a trial is its architecture.
    step, resample : float
        Of a mutation of an ordered parameter: standard deviation on the unit scale, and share that draws the value
        anew instead.
    name_parents : bool
        See :class:`~dhflow.searcher.evolution.RegularizedEvolution`.

    Raises
    ------
    SearchError
        If nobody says which parameters decide the architecture.

    Notes
    -----
    A child has the architecture of the winner of a tournament, mutated in one parameter. Its other parameters
    are those of the best acquisition among candidates that have this architecture, by the same surrogate, lies and
    climbs as in :class:`~dhflow.searcher.ambs.Ambs`. So it is from `n_initial` / 2 completed trials on, while the
    population still fills with random architectures; before, hyperparameters are random. Without other
    parameters it is ageing evolution.

    *Departures from the paper.* The surrogate is told of the architecture too, so that it can learn that large networks
    want other learning rates; on FC-Net's tables that was no worse with trees, and better with a Gaussian process. It
    is told the believer's lie about pending trials, not the worst value. Population, its growth and untried configs
    as in ``evolution``; there too it is said that a tournament of ten is the whole population until 55 trials have
    ended.

    *Cost.* Some 6 ms of CPU per suggestion with trees. Use it where architectures are large structures that a
    model of distances cannot grasp, and training has a few hyperparameters besides; in small joint spaces ``auto``
    finds more (on FC-Net's tables with 100 trials it left a sixth of the regret or less).
    """

    name: ClassVar[str] = "agebo"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        architecture: str | Sequence[str] | None = None,
        population: int = 100,
        tournament_size: int = 10,
        n_initial: int = 20,
        surrogate: SurrogateKind = "extra_trees",
        kappa: float = 0.001,
        step: float = 0.1,
        resample: float = 0.2,
        name_parents: bool = False,
    ) -> None:
        super().__init__(
            space,
            seed=seed,
            population=population,
            tournament_size=tournament_size,
            n_initial=n_initial,
            step=step,
            resample=resample,
            name_parents=name_parents,
        )
        check_choice("surrogate", surrogate, SURROGATES)
        self.architecture = _architecture_of(space, architecture)
        check_number("kappa", kappa)
        self.kappa = kappa
        self._kind = surrogate
        columns = {name: j for j, name in enumerate(space.names)}
        self._candidates: PinnedCandidates | None = None
        if any(space.parameters[name].n_values > 1 for name in space.names if name not in self.architecture):
            self._candidates = PinnedCandidates(space, [columns[each] for each in self.architecture])
            self._proposer = self._new_proposer(self._candidates)

    @property
    def packages(self) -> tuple[str, ...]:
        """What the surrogate's fits import."""
        return packages_of(self._kind) if self._candidates else ()

    def _new_proposer(self, candidates: PinnedCandidates) -> Proposer:
        features = Features(self.space)
        max_rows = min(MAX_TRAINING, row_limit(self._kind))
        training = TrainingSet(len(features), max_rows=max_rows, seed=self.seed)
        model = make_surrogate(training, kind=self._kind, seed=self.seed, kinds=features.kinds)
        options = ProposerOptions("lcb", KappaSchedule(self.kappa), "believer", self._multipoint(), N_CANDIDATES)
        return Proposer(self.space, model, options, features, candidates)

    def _multipoint(self) -> Multipoint:
        return "conditioned" if can_be_conditioned(self._kind) else "penalised"

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        budget = self._budget
        super()._fold_encoded(trials, X)
        if self._candidates is None:
            return
        if self._budget > budget:
            self._proposer = self._new_proposer(self._candidates)
        evidence = read_evidence(trials, self._budget)
        if evidence:
            self._proposer.tell(X[[each.place for each in evidence]], evidence)

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        if self._candidates is None:
            return super()._propose(n, pending, taken, rng)
        rows = [self._pending_rows[each.trial_id][0] for each in pending]
        found: list[FloatArray] = []
        parents: list[int | None] = []
        n_misses = 0
        while len(found) < n and n_misses < OWN_DRAWS:
            architecture, parent = self._architecture(rng)
            new = self._completed(self._candidates, architecture, [*rows, *found], taken, rng)
            found += list(new)
            parents += [parent] * len(new)
            n_misses += not len(new)
        X = np.array(found).reshape(-1, len(self.space))
        if len(found) < n:
            left = self._untried(n - len(found), taken, lambda k: self.space.sample_encoded(k, rng), rng)
            X = np.concatenate([X, left])
            parents += [None] * len(left)
        return self._suggest(X, parents)

    def _architecture(self, rng: np.random.Generator) -> tuple[FloatArray, int | None]:
        """Return a config (d,) whose architecture is to be tried, its hyperparameters do not matter, and the parent."""
        if not self._evolves:
            return self.space.sample_encoded(1, rng)[0], None
        children = self._children(1, rng)
        return children.rows[0], children.parents[0]

    def _completed(
        self,
        candidates: PinnedCandidates,
        architecture: FloatArray,
        pending: Sequence[FloatArray],
        taken: Taken,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Return an untried config (1, d) of this architecture, or none (0, d)."""
        candidates.pin(architecture)
        X = candidates.sample(_TRIED, rng)
        if all(key in taken for _, key in self._identified(X)):
            return X[:0]
        if self._proposer.n_completed < self.n_initial // 2:
            return np.array(self._take_new(X, 1, taken)).reshape(-1, len(self.space))
        return self._proposer.propose(1, pending, taken, rng)[0]

    def _mutate(self, X: FloatArray, rng: np.random.Generator) -> FloatArray:
        return self.space.mutate(X, rng, step=self.step, resample=self.resample, among=self.architecture)


def _architecture_of(space: SearchSpace, given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the parameters that decide the architecture: those given, or those that the space names."""
    if given is not None and not isinstance(given, Sequence):
        raise SearchError(f"architecture is {given!r}: it must be a list of names, or names with commas between them")
    names = [each.strip() for each in given.split(",")] if isinstance(given, str) else list(given or ())
    for each in names:
        if each not in space.names:
            raise SearchError(f"architecture names {each!r}: the space has no such parameter")
    found = tuple(names) or space.architecture
    if not found:
        raise SearchError(
            "searcher 'agebo' must know which parameters decide the architecture: declare them with "
            'group="architecture", or give it the option architecture=[names]'
        )
    return found
