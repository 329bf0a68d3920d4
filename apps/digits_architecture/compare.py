"""The best networks of a search beside the hand-made one: each trained again from other seeds, just as long.

::

    python apps/digits_architecture/compare.py digits.h5 --site laptop

writes ``digits-again.h5``, the table to standard output, and the distribution of test errors to ``digits-again.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dhflow import load, retrain
from dhflow.plot import plot_retraining
from dhflow.train import load_file_module

HERE = Path(__file__).parent


def main() -> None:
    """Read the arguments, train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("history", type=Path)
    parser.add_argument("--site", default="laptop")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--best", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="of each training; by default as many as in the search")
    options = parser.parse_args()

    digits = load_file_module(HERE / "problem.py")
    found = load(options.history)
    trained_so = {name: found.best.config[name] for name in digits.hyperparameters.names}
    again = retrain(
        digits.problem,
        found,
        best=options.best,
        # The second one tells what the network adds to how it is trained.
        beside={"hand-made": digits.hand_made, "hand-made, trained as the 1st": {**digits.hand_made, **trained_so}},
        n_repeats=options.repeats,
        budget=options.epochs,
        measure="test_accuracy",
        history=options.history.with_name(f"{options.history.stem}-again.h5"),
        site=options.site,
        site_set={"workers": options.workers, "cores_per_worker": 1} if options.site == "laptop" else {},
        progress=True,
    )
    for each in again.repeats:
        print(f"{each.name}: {digits.describe(each.config)}")
    print(again)
    picture = options.history.with_name(f"{options.history.stem}-again.png")
    plot_retraining(again, as_error=True).figure.savefig(picture, dpi=150, bbox_inches="tight")
    print(picture)


if __name__ == "__main__":
    main()
