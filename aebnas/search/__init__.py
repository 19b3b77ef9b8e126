"""The main verb: a spec's plan, the loop, and the same over several seeds."""
