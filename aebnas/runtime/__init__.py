"""What leaves with a model: ops, the Graph, the Network with hard exits, the exit decision. Torch only."""
