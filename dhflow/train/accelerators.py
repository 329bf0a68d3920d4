"""Which of a node's accelerators the runtime of a worker finds.

Parsl gives each worker the numbers of its accelerators in ``CUDA_VISIBLE_DEVICES``, ``ROCR_VISIBLE_DEVICES`` and
``ZE_AFFINITY_MASK`` alike. With AMD's only the first worker then finds one: ROCm's runtime leaves those that
``ROCR_VISIBLE_DEVICES`` names, and HIP above it counts these anew, so that number 5 in ``CUDA_VISIBLE_DEVICES`` is
looked for among one (ROCm documentation, "GPU isolation techniques"; Parsl's issue 3858, seen on Frontier).
"""

from __future__ import annotations

import os

VENDOR_VARIABLE = "DHFLOW_GPU_VENDOR"
"""Set to "amd" by a site with AMD's accelerators. Workers read it before their first trial."""

_OF_HIP = ("HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


def number_accelerators_of_worker() -> None:
    """Let HIP find all of the accelerators that ROCm's runtime leaves to this process; elsewhere do nothing.

    Has an effect on what has not looked for its devices yet, and on child processes.
    """
    own = os.environ.get("ROCR_VISIBLE_DEVICES", "")
    if os.environ.get(VENDOR_VARIABLE) != "amd" or not own:
        return
    numbers = ",".join(map(str, range(len(own.split(",")))))
    # Set and not removed: PyTorch 2.5 does not read ROCR_VISIBLE_DEVICES, and counts the whole node's without it.
    os.environ["CUDA_VISIBLE_DEVICES"] = numbers
    for name in _OF_HIP:
        if name in os.environ:
            os.environ[name] = numbers
