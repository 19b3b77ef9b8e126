"""Labelled image sets in memory as tensors: specs, honest splits, augmentation in batches."""
