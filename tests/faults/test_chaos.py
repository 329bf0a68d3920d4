"""Searches that are disturbed at random, in rounds that their seeds reproduce.

Ten rounds by default; ``make chaos`` runs 200, ``DHFLOW_CHAOS_SEED=17 make chaos`` that one alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chaos import Round

USUAL = (0, 111, 2, 13, 24, 15, 6, 17, 8, 9)
"""Every kind of disturbance once, in rounds that start few processes."""

pytestmark = [pytest.mark.faults, pytest.mark.integration, pytest.mark.slow, pytest.mark.long]


def seeds() -> list[int]:
    chosen = os.environ.get("DHFLOW_CHAOS_SEED", "")
    if chosen:
        return [int(each) for each in chosen.split(",")]
    n_rounds = int(os.environ.get("DHFLOW_CHAOS_ROUNDS", "0"))
    first = int(os.environ.get("DHFLOW_CHAOS_FIRST", "0"))
    return list(range(first, first + n_rounds)) or list(USUAL)


@pytest.mark.skipif(sys.platform != "linux", reason="stops, traces and limits processes as Linux does")
@pytest.mark.parametrize("seed", seeds())
def test_a_round(tmp_path: Path, seed: int) -> None:
    a_round = Round(seed, tmp_path)
    print(f"\n{a_round}\nagain: DHFLOW_CHAOS_SEED={seed} make chaos", flush=True)
    findings = a_round.run()
    if a_round.left_out:
        print(f"{a_round}")
    assert not findings, "\n".join(findings)
