"""Whether a run improves, has converged or gets worse, and where its curve will end."""
