"""What an early-exit network does under one policy, as the field reports it."""
