"""What ships with an exported model: ops, the Graph, the Network with hard exits, the exit policy. Torch only."""
