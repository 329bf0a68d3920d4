"""Model-based searchers with everything chosen: `auto`, the default, and `gp`."""

from __future__ import annotations

from typing import ClassVar

from dhflow.searcher.ambs import Ambs, AmbsFailed
from dhflow.searcher.proposer import Liar
from dhflow.searcher.scoring import Acquisition
from dhflow.space import SearchSpace


class Auto(Ambs):
    """What a user gets who chooses nothing.

    A Sobol design first; then a Gaussian process and extra trees take turns, two and one, told of all pending trials.
    Beyond 1,000 finished or 128 pending trials, where a Gaussian process would cost more than it gains, the trees go on
    alone. On tiny spaces every config is tried once.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_initial : int, optional
        Finished trials before the models take over; ``max(10, d)`` for d parameters unless given.
    failed, cost_aware, repeat_share
        See :class:`~dhflow.searcher.ambs.Ambs`.

    Notes
    -----
    *Why both.* A Gaussian process is the better model of smooth objectives, by a factor of three in regret; trees are
    better where it fails (many local minima, plateaus), and together they were never bad. A conditional space changes
    what the process is told, see *Branches* of :class:`~dhflow.searcher.ambs.Ambs`.

    *Papers.* Sobol (1967) for the design; Balaprakash et al. (2018) for the asynchronous search, with the believer's
    lie of Ginsbourger, Le Riche and Carraro (2010); Rasmussen and Williams (2006) for the Gaussian process
    (:class:`~dhflow.surrogate.gaussian_process.GaussianProcess`), Geurts, Ernst and Wehenkel (2006) for the trees
    (:class:`~dhflow.surrogate.forest.Forest`); Jones, Schonlau and Welch (1998) for the expected improvement, in the
    logarithm of Ament et al. (2023). Equations and departures are those of :class:`~dhflow.searcher.ambs.Ambs` with
    ``surrogate="mixed"``.

    *Cost.* 10 to 20 ms of CPU per ask and tell with few pending trials, 5 ms once the trees are alone. Lies cost: with
    64 pending and 300 finished trials some 40 ms, and 64 configs in one ask about 1 s. Use it unless small budgets tell
    something (`bohb`), or more than some 50 trials end per second (`tpe`, `random`).
    """

    name: ClassVar[str] = "auto"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        n_initial: int | None = None,
        failed: AmbsFailed = "worst",
        cost_aware: bool = False,
        repeat_share: float = 0.0,
    ) -> None:
        super().__init__(
            space,
            seed=seed,
            n_initial=n_initial,
            initial_design="sobol",
            surrogate="mixed",
            failed=failed,
            cost_aware=cost_aware,
            repeat_share=repeat_share,
        )


class GaussianProcessSearch(Ambs):
    """Bayesian optimisation with a Gaussian process.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_initial : int, optional
        Finished trials before the model takes over; ``max(10, d)`` for d parameters unless given.
    acquisition : {"log_ei", "ei", "pi", "lcb", "hedge"}
    kappa : float
        Weight of the uncertainty in "lcb"; without effect with other acquisitions.
    liar : {"believer", "min", "mean", "max"}
        What the process is told of a pending trial.
    input_warping : bool
        Whether each ordered parameter goes through a curve of its own, for objectives that bend much faster at one end
        of a range.
    failed, cost_aware, repeat_share
        See :class:`~dhflow.searcher.ambs.Ambs`.

    Notes
    -----
    Jones, Schonlau and Welch (1998), *Efficient global optimization of expensive black-box functions*, with the kernel,
    transform and priors of :class:`~dhflow.surrogate.gaussian_process.GaussianProcess`; the options and departures
    are those of :class:`~dhflow.searcher.ambs.Ambs` with ``surrogate="gaussian_process"``.

    *Cost.* 15 to 30 ms of CPU per ask and tell. Use it for smooth objectives of few (up to some 20) parameters and up
    to a thousand trials; beyond 300 it is fitted to the best, the latest and some others.
    """

    name: ClassVar[str] = "gp"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        n_initial: int | None = None,
        acquisition: Acquisition = "log_ei",
        kappa: float = 1.96,
        liar: Liar = "believer",
        input_warping: bool = False,
        failed: AmbsFailed = "worst",
        cost_aware: bool = False,
        repeat_share: float = 0.0,
    ) -> None:
        super().__init__(
            space,
            seed=seed,
            n_initial=n_initial,
            initial_design="sobol",
            surrogate="gaussian_process",
            acquisition=acquisition,
            kappa=kappa,
            liar=liar,
            input_warping=input_warping,
            failed=failed,
            cost_aware=cost_aware,
            repeat_share=repeat_share,
        )
