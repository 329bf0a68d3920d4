"""Public test kit: what a searcher or a history of your own must pass, and fakes to test your own code with.

* :class:`dhflow.testing.searcher.SearcherTests`, :class:`dhflow.testing.history.HistoryTests`: inherit them in a test.
* :class:`dhflow.testing.executor.FakeExecutor`: calls end when, and as, a test says.
* :class:`dhflow.testing.clock.FakeClock`, :class:`dhflow.testing.loop.LoopBench`: the completion loop step by step.
* :class:`dhflow.testing.simulated.SimulatedStudy`: a searcher against simulated workers.
* :class:`dhflow.testing.channel.ListChannel`: what a monitored trial sends, and what it is asked.
"""
