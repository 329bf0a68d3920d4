"""NSGA-II: genetic search for the Pareto set of several objectives.

Notation
--------
n : individuals;  k : objectives;  losses : (n, k), minimised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from dhflow.pareto import crowding_distances, domination_ranks
from dhflow.searcher.evolution import GeneticSearch, Individual, IntArray
from dhflow.space import SearchSpace


class Nsga2(GeneticSearch):
    """NSGA-II without generations: those of the first fronts survive, and of the last front the least crowded.

    Deb, Pratap, Agarwal and Meyarivan 2002 (*A fast and elitist multiobjective genetic algorithm: NSGA-II*, IEEE
    Trans. Evol. Comput. 6(2)), in the steady-state form of Durillo et al. 2009 (*On the effect of the steady-state
    selection scheme in multi-objective genetic algorithms*, EMO), which never waits.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    population : int
        The best completed trials, so many, are the population.
    tournament_size : int
        Individuals of which a parent is the best: 2 is the paper's binary tournament.
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
        As in :class:`~dhflow.searcher.evolution.GeneticSearch`.

    Notes
    -----
    An individual is better than another if its front is (:func:`~dhflow.pareto.domination_ranks`), or within one
    front if it is less crowded (:func:`~dhflow.pareto.crowding_distances`; sec. III-C, the crowded-comparison
    operator); of equals the older one. With one objective that is the order of the losses.

    The paper's population is 100, for 25,000 trials. With 100 trials of four test problems of two objectives 10 found
    a tenth to two fifths more volume than 100; with 1,000 trials 10, 20 and 50 found the same, within a few per cent.

    *Departures from the paper.* Every outcome is taken into the population at once, in place of one generation's
    together. Children are made as ``genetic`` makes them, by uniform crossover and mutation of one parameter, since
    spaces here have categorical and conditional parameters: the paper's simulated binary crossover and polynomial
    mutation need real numbers. No config is tried twice. A trial that failed never becomes a parent.

    *Cost.* Some 0.5 ms per suggestion, whatever the history's length. Use it for two or three objectives; with more,
    most trials do not dominate each other, and only crowding tells them apart.
    """

    name: ClassVar[str] = "nsga2"
    max_objectives: ClassVar[int | None] = None

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        population: int = 10,
        tournament_size: int = 2,
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
            crossover=crossover,
            mutation=mutation,
            step=step,
            resample=resample,
            name_parents=name_parents,
        )

    def _by_merit(self, individuals: Sequence[Individual]) -> IntArray:
        # Failed ones come last: there is nothing to compare.
        known = np.array([i for i, each in enumerate(individuals) if each.is_known], dtype=np.intp)
        failed = [i for i, each in enumerate(individuals) if not each.is_known]
        if not known.size:
            return np.array(failed, dtype=np.intp)
        losses = np.array([individuals[i].losses for i in known])
        ranks = domination_ranks(losses)
        crowding = np.zeros(len(known))
        for rank in range(ranks.max() + 1):
            crowding[ranks == rank] = crowding_distances(losses[ranks == rank])
        return np.append(known[np.lexsort((-crowding, ranks))], failed).astype(np.intp)
