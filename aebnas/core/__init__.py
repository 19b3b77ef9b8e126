"""What every room stands on: errors, files, specs, metrics, progress. Imports nothing of aebnas."""
