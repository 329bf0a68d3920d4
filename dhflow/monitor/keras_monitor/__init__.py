"""Watches the training of a Keras model: what its callback records, at which cost, and where that goes."""
