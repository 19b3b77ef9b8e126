"""The part that ships with an exported model: ops, Graph, Network with hard exits, exit policy. Requires only torch."""
