"""Reports on an early-exit network under one policy: figures, diagnostics, traffic, adaptation."""
