"""Asynchronous model-based search.

Notation
--------
X : (k, d) encoded configs;  places : where the surrogate has k points;  scores : (k,) acquisition, lower is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from dhflow.constraint import Constraint
from dhflow.errors import SearchError, SurrogateError
from dhflow.searcher.distinct import DistinctSearcher, Taken, suggest
from dhflow.searcher.evidence import highest_budget, read_evidence
from dhflow.searcher.features import Features
from dhflow.searcher.joint import JointProposer
from dhflow.searcher.option import check_choice, check_count, check_flag, check_number, check_share
from dhflow.searcher.point import LatinHypercube, Sobol
from dhflow.searcher.proposer import LIARS, MULTIPOINTS, Liar, Multipoint, Proposer, ProposerOptions
from dhflow.searcher.quasi_random import PointDesign
from dhflow.searcher.scoring import ACQUISITIONS, KAPPA_DRAWS, Acquisition, KappaDraw, KappaSchedule
from dhflow.space import SearchSpace
from dhflow.surrogate.belief import Surrogate
from dhflow.surrogate.forest import FOREST_KINDS
from dhflow.surrogate.kind import SURROGATES, SurrogateKind, can_be_conditioned, make_surrogate, packages_of, row_limit
from dhflow.surrogate.leaf import VARIANCES
from dhflow.surrogate.target import normal_scores, power_scores, standard_scores
from dhflow.surrogate.training import FAILED_AS, FailedAs, TrainingSet
from dhflow.trial import Config, Suggestion, Trial

FloatArray = npt.NDArray[np.float64]

InitialDesign = Literal["random", "lhs", "sobol"]
AmbsFailed = Literal[FailedAs, "infeasible"]
AmbsSurrogate = Literal[SurrogateKind, "mixed"]
MIXED: tuple[SurrogateKind, ...] = ("gaussian_process", "extra_trees")
"""Surrogates that propose in turn with ``surrogate="mixed"``, the last one alone beyond what follows."""
MIXED_TURNS = (0, 0, 1)
"""Which of them proposes next."""
MIXED_UNTIL_FINISHED = 1_000
MIXED_UNTIL_PENDING = 128
MAX_REPEATS = 10
"""Evaluations of one config, at most, with ``repeat_share``."""


class Ambs(DistinctSearcher):
    """Asynchronous model-based search: a surrogate learns from every trial and proposes the next.

    The method of Balaprakash et al. 2018 (*DeepHyper: asynchronous hyperparameter search for deep
    neural networks*, HiPC, sec. III-B): after an initial design, whenever a worker is free, the
    surrogate is asked for the config with the best acquisition, a lie standing in for every trial that
    still runs. ``surrogate="random_forest", acquisition="lcb"`` is what the paper describes; the
    defaults are what did best on our test functions.

    Parameters
    ----------
    space : SearchSpace
    seed : int
    n_initial : int, optional
        Finished trials before the model takes over; ``max(10, d)`` for d parameters unless given.
    initial_design : {"random", "lhs", "sobol"}
        What is tried before.
    surrogate : {"extra_trees", "random_forest", "bagging", "gaussian_process", "mixed", "gradient_boosting", \
            "bayesian_network"}
        The first three are forests (:class:`~dhflow.surrogate.forest.Forest`), which take up every tell and every lie
        at once, as does a Gaussian process (:class:`~dhflow.surrogate.gaussian_process.GaussianProcess`); "mixed"
        is a Gaussian process and extra trees, which take turns, two and one, the trees alone beyond 1,000 finished or
        128 pending trials. The others (:mod:`~dhflow.surrogate.boosting`,
        :mod:`~dhflow.surrogate.network`) are fitted anew with every twentieth more trials.
    n_trees : int
        Of forests.
    input_warping : bool
        Of a Gaussian process: each ordered parameter goes through a curve of its own, fitted along, for objectives
        that bend much faster at one end of a range (:mod:`~dhflow.surrogate.warping`). With it asking takes 1.7 times
        the CPU where the Gaussian process is alone.
    acquisition : {"log_ei", "ei", "pi", "lcb", "hedge"}
        Logarithm of the expected improvement, expected improvement, probability of improvement, lower confidence
        bound ``mean - kappa * std``, or a portfolio of them (:class:`~dhflow.searcher.scoring.Hedge`).
    kappa : float
        Weight of the uncertainty in "lcb" (and where "hedge" plays it); 1.96 is the bound of 97.5 % of a normal belief,
        0 only exploits. With the other acquisitions, the default among them, it has no effect.
    kappa_decay : float
        `kappa` shrinks by this rate per *finished* trial, exponentially.
    kappa_draw : {"fixed", "exponential"}
        "exponential" draws each suggestion's own weight, with mean `kappa`.
    liar : {"believer", "min", "mean", "max"}
        What the surrogate is told of a pending trial; see Notes. None but the default where no lie is told
        ("penalised").
    multipoint : {"adaptive", "conditioned", "penalised", "naive"}
        "conditioned": every pending trial, and every config chosen before within the same ask,
        is a lie. "penalised": the uncertainty around them vanishes instead
        (:class:`~dhflow.surrogate.belief.PenalisedBelief`), always so with "gradient_boosting". "adaptive":
        conditioned, but forests penalise while trials are crowded and few have finished (see Notes), unless a `liar`
        is named. "naive": pending trials are ignored but for duplicates; for comparison, or with
        ``kappa_draw="exponential"``.
    failed : {"worst", "mean", "leave_out", "infeasible"}
        What a failed trial is told as: one rank worse than the worst completed one, the mean,
        or nothing. Targets are scores of ranks, so a failure cannot distort the others. "infeasible": a
        second model learns where trials fail, as always with constraints, several objectives or `cost_aware`, whatever
        is said here.
    cost_aware : bool
        Improvement counts per second of trial time, which a model of its own predicts. Failures as "infeasible".
    repeat_share : float
        Share of suggestions that repeat the config whose predicted mean is best, for noisy objectives.
    variance : {"total", "between"}
        Of forests: within and between the trees' leaves, or between alone.
    n_candidates : int
        Random candidates of an ask; half as many neighbours of the best trials, and four times
        a fifth as many neighbours of the best candidates come on top.
    max_training : int
        Trials that the surrogate is fitted to, at most: a third each the best, the latest and
        others at random.
    refresh : int
        Trees grown anew per tell in the long run; at the beginning more.

    Raises
    ------
    SearchError
        If an option is impossible, or one that is given can have no effect beside another: `liar` beside "penalised",
        ``failed="mean"`` or ``"leave_out"`` beside `cost_aware`.

    Notes
    -----
    *Liars.* "min", "mean" and "max" are meant of the losses, which are minimised: "min" is the
    best value so far, the optimistic liar (of a user who maximises an accuracy: the highest
    one), "max" the worst. In DeepHyper the same words changed their meaning between
    versions, so compare by meaning and not by name. "believer", the surrogate's own
    prediction (Ginsbourger, Le Riche and Carraro 2010, sec. 4.1, "Kriging believer"), is the
    default: with eight asynchronous workers and random splits its regret was half of the mean liar's, a quarter of
    the pessimist's ("max") and a fifth of the optimist's ("min").

    *Crowds.* With 32 to 1,024 pending and wanted trials, "adaptive" penalises until two have finished for each of them:
    the leaves of a few finished trials are too large for lies to keep many workers apart. In batches of 64 that left
    0.75 to 0.86 of the regret (seven problems of one objective), with 64 asynchronous workers 0.90 after 256 trials
    (ten problems; 0.97 before); later on penalties lose. With "mixed" only where the trees are alone. It takes up to
    10 ms of CPU more per ask.

    *Branches.* Where a space has conditions, a Gaussian process is told losses as they are, but for bad ones, which are
    cut (:func:`~dhflow.surrogate.target.standard_scores`). What makes losses normal stretches the differences of the
    latest trials, however small: a branch that is good at once was refined for ever, and the better one never fitted.

    *Departures from the paper.* Targets are normal scores of ranks. Leaf statistics take up
    every tell and every lie at once while a few trees in turn are grown anew, instead of a refit per
    ask (:mod:`dhflow.surrogate.forest`). Candidates climb instead of being a random sample. No config is tried twice.

    *Plateaus.* Where results repeat earlier values exactly, to refine the best configs teaches nothing. So with the
    share of repeats among the latest 20 results as the probability, a suggestion is chosen among random configs of the
    whole space instead, by the lower confidence bound with a random weight. On twelve problems of tables with 100 and
    200 trials that left 0.68 to 0.82 of the regret; where no value comes twice it changes nothing.

    *Several objectives, constraints, cost.* Each has a model of its own, see
    :class:`~dhflow.searcher.joint.JointRule`; the acquisition is the expected improvement then.

    *Noise.* A config is repeated up to :data:`MAX_REPEATS` times; see also :meth:`dhflow.Result.recommended`.

    *Budgets.* Only trials at the highest budget that has completed train the model; a trial that was
    stopped early counts as no better than the median.

    *Cost.* With a forest an ask and tell takes about 5 ms of CPU, independent of the history's length beyond
    `max_training`, and 64 at once take some 20 ms. Use it when a trial takes longer than that
    and the space is not tiny.
    """

    name: ClassVar[str] = "ambs"
    models_constraints: ClassVar[bool] = True

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        n_initial: int | None = None,
        initial_design: InitialDesign = "random",
        surrogate: AmbsSurrogate = "extra_trees",
        n_trees: int = 30,
        input_warping: bool = False,
        acquisition: Acquisition = "log_ei",
        kappa: float = 1.96,
        kappa_decay: float = 0.0,
        kappa_draw: KappaDraw = "fixed",
        liar: Liar = "believer",
        multipoint: Multipoint = "adaptive",
        failed: AmbsFailed = "worst",
        cost_aware: bool = False,
        repeat_share: float = 0.0,
        variance: str = "total",
        n_candidates: int = 300,
        max_training: int = 600,
        refresh: int = 1,
    ) -> None:
        super().__init__(space, seed=seed)
        d = len(space)
        self.n_initial = max(10, d) if n_initial is None else n_initial
        check_count("n_initial", self.n_initial)
        check_choice("initial_design", initial_design, get_args(InitialDesign))
        check_choice("surrogate", surrogate, (*SURROGATES, "mixed"))
        check_count("n_trees", n_trees)
        check_choice("acquisition", acquisition, ACQUISITIONS)
        check_number("kappa", kappa)
        check_number("kappa_decay", kappa_decay)
        check_choice("kappa_draw", kappa_draw, KAPPA_DRAWS)
        check_choice("liar", liar, LIARS)
        check_choice("multipoint", multipoint, MULTIPOINTS)
        check_choice("failed", failed, (*FAILED_AS, "infeasible"))
        check_flag("cost_aware", cost_aware)
        check_flag("input_warping", input_warping)
        check_share("repeat_share", repeat_share)
        check_choice("variance", variance, VARIANCES)
        check_count("n_candidates", n_candidates, least=20)
        check_count("max_training", max_training, least=30)
        check_count("refresh", refresh)
        self.kappa = kappa
        self.liar = liar
        self._kinds: tuple[SurrogateKind, ...] = MIXED if surrogate == "mixed" else (surrogate,)
        if input_warping and "gaussian_process" not in self._kinds:
            raise SearchError(f'input_warping is of a Gaussian process: surrogate="{surrogate}" has no use for it')
        if multipoint == "adaptive" and liar != "believer":
            multipoint = "conditioned"
        if multipoint in ("adaptive", "conditioned") and not all(map(can_be_conditioned, self._kinds)):
            multipoint = "penalised"
        _refuse_without_effect(surrogate, liar, multipoint, failed, cost_aware=cost_aware)
        kappas = KappaSchedule(kappa, kappa_decay, kappa_draw)
        self._options = ProposerOptions(acquisition, kappas, liar, multipoint, n_candidates, leaves_plateaus=True)
        self._model_options: dict[str, Any] = {
            "n_trees": n_trees,
            "refresh": min(refresh, n_trees),
            "variance": variance,
            "warps": input_warping,
        }
        self._max_training = max_training
        self._failed: FailedAs = "leave_out" if failed == "infeasible" else failed
        self.n_objectives = 1
        self.cost_aware = cost_aware
        self.repeat_share = repeat_share
        self._counts: dict[bytes, int] = {}
        self._working: dict[bytes, FloatArray] = {}
        self._weighs_failures = failed == "infeasible"
        self._budget = 0.0
        self._n_fitted = 0
        self.expect(n_objectives=1)
        self._design: PointDesign | None = None
        if initial_design == "lhs":
            self._design = PointDesign(space, LatinHypercube(d, seed=seed, block_size=self.n_initial))
        elif initial_design == "sobol":
            self._design = PointDesign(space, Sobol(d, seed=seed))

    def expect(self, n_objectives: int, constraints: Sequence[Constraint] = ()) -> None:
        """Say what results will look like; each objective and constraint gets a model of its own."""
        super().expect(n_objectives, constraints)
        if self.repeat_share and n_objectives > 1:
            raise SearchError("repeat_share is for one objective: of several none has a single best mean")
        self.n_objectives = n_objectives
        self._is_joint = n_objectives > 1 or bool(constraints) or self._weighs_failures or self.cost_aware
        acquisition = self._options.acquisition
        if self._is_joint and acquisition not in ("log_ei", "ei"):
            raise SearchError(
                f'acquisition="{acquisition}" knows neither several objectives nor constraints, infeasible '
                'failures or cost: leave it at "log_ei"'
            )
        self._proposers = self._new_proposers()

    @property
    def packages(self) -> tuple[str, ...]:
        """What fits import."""
        return tuple(dict.fromkeys(name for kind in self._kinds for name in packages_of(kind)))

    @property
    def n_fitted(self) -> int:
        """How many parts of its surrogates (trees) this object has fitted so far."""
        return self._n_fitted + sum(each.n_fitted for each in self._proposers)

    def predict(self, configs: Sequence[Config], pending: Sequence[Trial] = ()) -> tuple[FloatArray, FloatArray]:
        """Return what the surrogate believes at `configs`, as the last ask knew the told trials.

        Parameters
        ----------
        configs : sequence of mapping
        pending : sequence of Trial
            Each is lied about as in an ask.

        Returns
        -------
        mean, std : (len(configs),)
            In the units of :meth:`scores` (of a forest normal scores of ranks): lower is better, 0 is a middling trial.
            With ``surrogate="mixed"`` what the Gaussian process believes; of the first of several objectives.

        Raises
        ------
        SurrogateError
            If the initial design is not over, so that there is no surrogate yet.
        """
        if not self._has_model:
            raise SurrogateError(f"there is no surrogate yet: it begins after {self.n_initial} finished trials")
        proposer = self._proposers[0]
        proposer.sync()
        belief = proposer.belief(list(self.space.encode([each.config for each in pending])) if pending else [])
        return belief.moments(proposer.place(self.space.encode(configs)))

    def scores(self, losses: npt.ArrayLike) -> FloatArray:
        """Return losses (n,) of completed trials in the units of :meth:`predict`."""
        if self._kinds[0] != "gaussian_process":
            return normal_scores(losses)
        n_first = self._n_first
        return standard_scores(losses, np.asarray(losses)[:n_first]) if n_first else power_scores(losses)

    @property
    def _n_first(self) -> int:
        """How many trials show the scale of the objective; none where it is not kept."""
        return self.n_initial if self.space.has_conditions else 0

    @property
    def _has_model(self) -> bool:
        first = self._proposers[0]
        return first.n_told >= self.n_initial and first.n_completed > 0

    def state(self) -> dict[str, Any]:
        """Return the base's snapshot and the place in the initial design."""
        return {**super().state(), "next_point": self._design.next_point if self._design else 0}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a snapshot of :meth:`state` back."""
        super().restore(state)
        if self._design:
            self._design.next_point = int(state["next_point"])

    def _new_proposers(self) -> list[Proposer]:
        features = Features(self.space)
        if not self._is_joint:
            return [
                Proposer(self.space, self._new_model(kind, features), self._options_of(kind), features)
                for kind in self._kinds
            ]
        return [
            JointProposer(
                self.space,
                [self._new_model(kind, features) for _ in range(self.n_objectives)],
                self._options_of(kind),
                features,
                # A bound may lie beyond what is cut as bad.
                limits=[self._new_model(kind, features, keeps_scale=False) for _ in self.constraints],
                validity=self._new_model("extra_trees", features),
                cost=self._new_model("extra_trees", features) if self.cost_aware else None,
            )
            for kind in self._kinds
        ]

    def _options_of(self, kind: SurrogateKind) -> ProposerOptions:
        if self._options.multipoint == "adaptive" and kind not in FOREST_KINDS:
            return replace(self._options, multipoint="conditioned")
        if len(self._kinds) > 1:
            # While both take turns, to penalise was no better.
            return replace(self._options, least_crowd=MIXED_UNTIL_PENDING + 1)
        return self._options

    def _new_model(self, kind: SurrogateKind, features: Features, *, keeps_scale: bool = True) -> Surrogate:
        max_rows = min(self._max_training, row_limit(kind))
        training = TrainingSet(len(features), max_rows=max_rows, failed=self._failed, seed=self.seed)
        options = {**self._model_options, "n_first": self._n_first if keeps_scale else 0}
        return make_surrogate(training, kind=kind, seed=self.seed, kinds=features.kinds, **options)

    def _fold_encoded(self, trials: Sequence[Trial], X: FloatArray) -> None:
        super()._fold_encoded(trials, X)
        if self._design:
            self._design.see(trials)
        budget = highest_budget(trials, self._budget)
        if budget > self._budget:
            # What was learned of lower budgets is not comparable.
            self._budget = budget
            self._n_fitted = self.n_fitted
            self._proposers = self._new_proposers()
        evidence = read_evidence(trials, self._budget, self.constraints)
        rows = X[[each.place for each in evidence]]
        if self.repeat_share:
            for key, row, each in zip(self.space.identities(rows), rows, evidence, strict=True):
                self._counts[key] = self._counts.get(key, 0) + 1
                if each.is_feasible and not each.is_censored:
                    self._working[key] = row
        for proposer in self._proposers:
            if evidence:
                proposer.tell(rows, evidence)
            for trial in trials:
                if "nominees" in trial.meta:
                    proposer.tell_nominees(np.array(trial.meta["nominees"], dtype=np.float64))

    def _propose(self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator) -> list[Suggestion]:
        if not self._has_model:
            return self._propose_initial(n, pending, taken, rng)
        rows = [self._pending_rows[each.trial_id][0] for each in pending]
        suggestions = self._repeat(n, pending, rng) if self.repeat_share else []
        for proposer, share in self._shares(n - len(suggestions), len(pending)):
            X, meta = proposer.propose(share, rows, taken, rng)
            rows += list(X)
            suggestions += suggest(self.space, X, meta)
        if len(suggestions) < n:
            suggestions += suggest(self.space, self._random(n - len(suggestions), taken, rng))
        return suggestions

    def _repeat(self, n: int, pending: Sequence[Trial], rng: np.random.Generator) -> list[Suggestion]:
        """Return suggestions of configs that were tried, those with the best predicted means."""
        n_wanted = int(np.count_nonzero(rng.random(n) < self.repeat_share))
        if not n_wanted or not self._working:
            return []
        proposer = self._proposers[0]
        proposer.sync()
        X = np.array(list(self._working.values()))
        mean, _ = proposer.belief().moments(proposer.place(X))
        counts = dict(self._counts)
        for each in pending:
            key = self._pending_rows[each.trial_id][1]
            counts[key] = counts.get(key, 0) + 1
        found: list[FloatArray] = []
        keys = list(self._working)
        for index in np.argsort(mean, kind="stable"):
            n_left = MAX_REPEATS - counts.get(keys[index], 0)
            found += [X[index]] * min(n_left, n_wanted - len(found))
        return suggest(self.space, np.array(found), {"is_repeat": True}) if found else []

    def _shares(self, n: int, n_pending: int) -> list[tuple[Proposer, int]]:
        """Return who proposes how many of `n`: several surrogates take turns while that pays."""
        able = self._proposers
        if able[0].n_told > MIXED_UNTIL_FINISHED or n_pending + n > MIXED_UNTIL_PENDING:
            able = able[-1:]
        order = MIXED_TURNS if len(able) > 1 else (0,)
        turns = [order[(self._n_suggested + each) % len(order)] for each in range(n)]
        return [(able[each], turns.count(each)) for each in dict.fromkeys(turns)]

    def _propose_initial(
        self, n: int, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator
    ) -> list[Suggestion]:
        if self._design is None:
            return suggest(self.space, self._random(n, taken, rng))
        self._design.see(pending)
        X = self._untried(n, taken, self._design.draw, rng)
        return suggest(self.space, X, self._design.meta)

    def _random(self, n: int, taken: Taken, rng: np.random.Generator) -> FloatArray:
        return self._untried(n, taken, lambda k: self.space.sample_encoded(k, rng), rng)


def _refuse_without_effect(surrogate: str, liar: str, multipoint: str, failed: str, *, cost_aware: bool) -> None:
    """Refuse options that differ from the defaults and that another option leaves without effect."""
    if liar != "believer" and multipoint == "penalised":
        why = 'surrogate="gradient_boosting"' if surrogate == "gradient_boosting" else 'multipoint="penalised"'
        raise SearchError(f"liar={liar!r} has no effect with {why}, which is told no lies: leave it out")
    if cost_aware and failed in ("mean", "leave_out"):
        raise SearchError(
            f"failed={failed!r} has no effect with cost_aware=True, which learns where trials fail: leave it out"
        )
