"""Search strategies: what to try next, given what was found so far."""
