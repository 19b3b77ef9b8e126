"""Labelled image sets, in memory or streamed: specs, honest splits, augmentation in batches."""
