"""What a searcher fits: forests, their targets, and acquisition functions."""
