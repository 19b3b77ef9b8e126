"""Latency on a device: profiles of measured layers or whole networks, and predictions from them."""
