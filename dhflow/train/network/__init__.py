"""Networks on a worker: Keras models of architectures, and their training. Names are loaded on first use."""
