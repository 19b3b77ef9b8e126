"""Latency on a device: profiles measured layer by layer or network by network, and what is predicted from them."""
