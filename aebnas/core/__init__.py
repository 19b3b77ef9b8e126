"""The base of every package: errors, files, specs, metrics, progress. Imports no other package of aebnas."""
