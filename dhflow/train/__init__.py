"""What runs on a worker: from a task to a trial's result, whatever the user's objective does.

The driver packs an objective with :mod:`dhflow.train.ship` (or names a command with
:mod:`dhflow.train.command`), puts it into a :class:`dhflow.train.task.Task` and has
:func:`dhflow.train.evaluate.evaluate` called on a worker. What an attempt leaves on disk,
:mod:`dhflow.train.attempt_directory` reads, also after its worker died.
"""
