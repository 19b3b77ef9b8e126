"""Search strategies: which candidates to evaluate next, given the trials so far."""
