"""Evolution of configs: regularised (ageing) evolution, and a genetic search.

Notation
--------
d : parameters;  X : (k, d) encoded configs, snapped;  an individual is a finished trial.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from dhflow.searcher.distinct import DistinctSearcher, Taken, suggest
from dhflow.searcher.evidence import highest_budget, read_evidence
from dhflow.searcher.option import check_count, check_flag, check_number, check_share
from dhflow.space import SearchSpace
from dhflow.trial import Suggestion, Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

TRIALS_PER_INDIVIDUAL = 5
"""An ageing population is never larger than the finished trials over this."""
LEAST_POPULATION = 10
"""But not smaller than this."""

_UNKNOWN = (math.inf,)


class Individual(NamedTuple):
    """A finished trial in a population.

    Parameters
    ----------
    losses : tuple of float
        Minimised; (inf,) for a trial that failed or was stopped early, which never becomes a parent.
    row : (d,)
        Its encoded config.
    trial_id : int
    """

    losses: tuple[float, ...]
    row: FloatArray
    trial_id: int = -1

    @property
    def loss(self) -> float:
        """The first objective's."""
        return self.losses[0]

    @property
    def is_known(self) -> bool:
        """Whether it has losses to be compared."""
        return math.isfinite(self.losses[0])


class Children(NamedTuple):
    """New configs and whom they come from.

    Parameters
    ----------
    rows : (n, d)
    parents : list of int
        Trial ids; of two parents the first one's.
    """

    rows: FloatArray
    parents: list[int]


class EvolutionarySearcher(DistinctSearcher):
    """Base of the searchers that keep a population and make children of its members.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    population : int
        Individuals that are kept.
    tournament_size : int
        Individuals that a parent is the best of.
    n_initial : int
        Completed trials before evolution begins; random until then.
    step : float
        Standard deviation of a mutation of an ordered parameter on the unit scale, positive.
    resample : float
        Share of such mutations that draw the value anew instead, at most 1.
    name_parents : bool
        See :class:`RegularizedEvolution`.

    Notes
    -----
    A subclass says who survives (:meth:`_survivors`) and how children are made (:meth:`_children`).

    Workers are never waited for: a child is made of whatever the population is when it is asked for. Pending
    trials are no members yet, but none of them is suggested again. Where children repeat what was tried, random
    configs take their place.
    """

    max_objectives: ClassVar[int | None] = 1

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        population: int,
        tournament_size: int,
        n_initial: int,
        step: float,
        resample: float,
        name_parents: bool,
    ) -> None:
        super().__init__(space, seed=seed)
        check_count("population", population, least=2)
        check_count("tournament_size", tournament_size)
        check_count("n_initial", n_initial)
        check_number("step", step, above=0.0)
        check_share("resample", resample)
        check_flag("name_parents", name_parents)
        self.population = population
        self.tournament_size = tournament_size
        self.n_initial = n_initial
        self.step, self.resample = step, resample
        self.name_parents = name_parents
        self._restricted = bool(space.forbidden or space.constraints)
        self._budget = 0.0
        self._individuals: list[Individual] = []
        self._n_completed = 0

    @property
    def individuals(self) -> tuple[Individual, ...]:
        """The present population."""
        return tuple(self._individuals)

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        super()._fold_encoded(trials, X)
        budget = highest_budget(trials, self._budget)
        if budget > self._budget:
            # Losses of lower budgets are not comparable.
            self._budget = budget
            self._individuals, self._n_completed = [], 0
        for each in read_evidence(trials, self._budget):
            is_known = bool(each.losses) and not each.is_censored
            self._individuals.append(
                Individual(each.losses if is_known else _UNKNOWN, X[each.place], trials[each.place].trial_id)
            )
            self._n_completed += is_known
        self._individuals = self._survivors(self._individuals)

    @property
    def _evolves(self) -> bool:
        """Whether children are made; random configs until then."""
        return self._n_completed >= self.n_initial and any(each.is_known for each in self._individuals)

    @abstractmethod
    def _survivors(self, individuals: list[Individual]) -> list[Individual]:
        """Return at most `population` of the individuals, which are in the order in which they were told."""

    @abstractmethod
    def _children(self, n: int, rng: np.random.Generator) -> Children:
        """Return `n` children of the population, snapped; whether they are allowed is not looked at."""

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        parent_of: dict[bytes, int] = {}

        def draw(k: int) -> FloatArray:
            if not self._evolves:
                return self.space.sample_encoded(k, rng)
            X, parents = self._children(k, rng)
            parent_of.update(zip(map(bytes, X), parents, strict=True))
            return X[self.space.allowed(X)] if self._restricted else X

        X = self._untried(n, taken, draw, rng)
        return self._suggest(X, [parent_of.get(bytes(row)) for row in X])

    def _suggest(self, X: FloatArray, parents: Iterable[int | None]) -> list[Suggestion]:
        """Return suggestions of the configs X (k, d), with their parents if these are to be named."""
        found = suggest(self.space, X)
        if not self.name_parents:
            return found
        return [replace(each, parent_id=parent) for each, parent in zip(found, parents, strict=True)]

    def _parents(self, n: int, rng: np.random.Generator) -> list[Individual]:
        """Return the winners of `n` tournaments."""
        members = [each for each in self._individuals if each.is_known]
        size = min(self.tournament_size, len(members))
        order = self._by_merit(members)
        # The lowest of `size` different places in the order of merit has won.
        places = [rng.choice(len(members), size, replace=False).min() for _ in range(n)]
        return [members[order[place]] for place in places]

    def _by_merit(self, individuals: Sequence[Individual]) -> IntArray:
        """Return the places of the individuals, the best one's first; of equals, the older one comes first."""
        return np.argsort([each.loss for each in individuals], kind="stable")

    def _mutate(self, X: FloatArray, rng: np.random.Generator) -> FloatArray:
        return self.space.mutate(X, rng, step=self.step, resample=self.resample)


class RegularizedEvolution(EvolutionarySearcher):
    """Ageing evolution: mutate the best of a few individuals; the oldest one dies, however good it is.

    Real et al. 2019 (*Regularized evolution for image classifier architecture search*, AAAI, algorithm 1).

    Parameters
    ----------
    space : SearchSpace
    seed : int
    population : int
        The last finished trials, so many, are the population; never more than a fifth of all so far, or 10.
    tournament_size : int
        Different individuals drawn from it, of which the best one becomes the parent.
    n_initial : int
        Completed trials before evolution begins; random until then.
    step, resample : float
        Of a mutation of an ordered parameter: standard deviation on the unit scale, and share that draws the value
        anew instead.
    name_parents : bool
        A child is a trial that goes on from its parent's, so that a network may begin with the parent's weights
        (``TrainingSettings(inherit_weights=True)``). An objective that continues from ``trial.continues`` must expect
        there what another config has left.

    Notes
    -----
    A child differs from its parent in one active parameter (:meth:`~dhflow.space.SearchSpace.mutate`), and in those
    that the change brings to life. As every individual dies of age, only configs whose children are good too stay
    in the population: a lucky measurement of a noisy objective does not.

    Population and tournament are those of the later studies of the method (100 and 10; the paper: 100 and 25, for
    20,000 trials). At 100 trials a population of 100 would be random search: it grows with the search, one individual
    with every fifth trial. So it depends on nothing but the record, and a search may be made longer at any time. With
    100 trials that left less regret than 100 individuals did on four of five architecture tables (up to a fifth) and
    on five of five other problems (13 to 71 %), with 300 trials on five of the ten. The tournament does not grow with
    it: until 55 trials have ended the population holds ten, and a tournament of ten is all of it, so that each parent
    is the best of the last ten; at 100 trials it is half of the population. The figures are of just that.

    *Departures from the paper.* There, evolution begins when the population is full; here with `n_initial` trials.
    No config is tried twice. A failed trial ages the population and is never a parent.

    *Cost.* Some 0.1 ms per suggestion, whatever the history's length. Use it with thousands of short or noisy trials,
    and where configs are structures, such as architectures, in which no distance means much.
    """

    name: ClassVar[str] = "evolution"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int = 100,
        tournament_size: int = 10,
        n_initial: int = 20,
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
        self._n_judged = 0

    @property
    def present_size(self) -> int:
        """How many individuals the population holds at most, for as many trials as there are so far."""
        return min(self.population, max(LEAST_POPULATION, self._n_judged // TRIALS_PER_INDIVIDUAL))

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        self._n_judged += len(trials)
        super()._fold_encoded(trials, X)

    def _survivors(self, individuals: list[Individual]) -> list[Individual]:
        return individuals[-self.present_size :]

    def _children(self, n: int, rng: np.random.Generator) -> Children:
        parents = self._parents(n, rng)
        return Children(self._mutate(_rows(parents), rng), [each.trial_id for each in parents])


class GeneticSearch(EvolutionarySearcher):
    """Genetic search: the best trials so far are the population; children mix two of them and mutate.

    A steady-state (μ + λ) genetic algorithm (Syswerda 1991; Eiben and Smith 2015, ch. 5), which needs no generations
    and so never waits.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    population : int
        The best completed trials, so many, are the population: μ.
    tournament_size : int
        Individuals of which a parent is the best.
    n_initial : int
        Completed trials before evolution begins; random until then.
    crossover : float
        Share of the children that have two parents, at most 1; the others have one and are always mutated.
    mutation : float
        Share of the children of two parents that are mutated too, at most 1.
    step, resample : float
        Of a mutation of an ordered parameter: standard deviation on the unit scale, and share that draws the value
        anew instead.
    name_parents : bool
        As in :class:`RegularizedEvolution`; of two parents it is the first.

    Notes
    -----
    Crossover is uniform (Syswerda 1989): a child has each parameter from either parent. A parameter that one of them
    lacks comes from the other, one that both lack is drawn from the prior. A child that repeats what was
    tried is made again, and at last replaced by a random config.

    *Departures.* λ is no fixed number: whatever has completed since the last ask competes with the population, and
    children are made of the best while others still train. The first configs are random until `n_initial` trials have
    completed; mutation is that of ``evolution``; no config is tried twice.

    *Cost.* Some 0.1 ms per suggestion, whatever the history's length. Use it like ``evolution`` where the objective
    is not noisy and parameters can be judged one by one: then good values of each meet in one config.
    """

    name: ClassVar[str] = "genetic"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int = 10,
        tournament_size: int = 3,
        n_initial: int = 10,
        crossover: float = 0.8,
        mutation: float = 0.5,
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
        check_share("crossover", crossover)
        check_share("mutation", mutation)
        self.crossover, self.mutation = crossover, mutation

    def _survivors(self, individuals: list[Individual]) -> list[Individual]:
        return [individuals[place] for place in self._by_merit(individuals)[: self.population]]

    def _children(self, n: int, rng: np.random.Generator) -> Children:
        parents = self._parents(n, rng)
        mothers, fathers = _rows(parents), _rows(self._parents(n, rng))
        has_two = rng.random(n) < self.crossover
        X = np.where(has_two[:, None], self._crossed(mothers, fathers, rng), mothers)
        is_mutated = ~has_two | (rng.random(n) < self.mutation)
        return Children(np.where(is_mutated[:, None], self._mutate(X, rng), X), [each.trial_id for each in parents])

    def _crossed(self, mothers: FloatArray, fathers: FloatArray, rng: np.random.Generator) -> FloatArray:
        in_mother, in_father = self.space.active(mothers), self.space.active(fathers)
        from_mother = np.where(in_mother == in_father, rng.random(mothers.shape) < 0.5, in_mother)
        mixed = np.where(from_mother, mothers, fathers)
        return self.space.snap(np.where(in_mother | in_father, mixed, rng.random(mothers.shape)))


def _rows(individuals: Sequence[Individual]) -> FloatArray:
    return np.array([each.row for each in individuals])
