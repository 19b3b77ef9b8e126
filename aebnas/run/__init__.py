"""One folder under `results/`: its files, its specs, and what is loaded for its verbs."""
