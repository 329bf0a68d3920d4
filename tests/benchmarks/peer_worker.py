"""Runs one peer in the peer's own environment: asks and tells come as JSON lines, answers go back as JSON lines.

Started by ``peer_searcher.py``, with the folder of the peers' adapters as the first argument. CPU seconds are
those of this process. This file needs nothing but the peer and its adapter.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def main() -> None:
    """Answer until the input ends."""
    # What peers print must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.path.insert(0, sys.argv[1])
    import adapters  # type: ignore[import-not-found]
    import common  # type: ignore[import-not-found]

    optimiser: Any = None
    asked: dict[int, Any] = {}
    for line in sys.stdin:
        order = json.loads(line)
        began = time.process_time()
        answer: dict[str, Any] = {}
        try:
            if order["do"] == "start":
                space = [common.P(**{**each, "choices": tuple(each.get("choices", ()))}) for each in order["space"]]
                if optimiser is not None:
                    optimiser.close()
                make = adapters.REGISTRY[order["name"]][1]
                optimiser = make(space, order["seed"], budget=order["budget"], n_workers=order["n_workers"])
                asked = {}
            elif order["do"] == "ask":
                config = optimiser.ask()
                asked[order["id"]] = config
                answer["config"] = {name: _plain(value) for name, value in config.items()}
            else:
                optimiser.tell(asked.pop(order["id"]), order["value"])
        except Exception as error:  # what a peer raises is data: one failed run
            answer["error"] = f"{type(error).__name__}: {error}"[:300]
        answer["cpu_s"] = time.process_time() - began
        answers.write(json.dumps(answer) + "\n")


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    main()
