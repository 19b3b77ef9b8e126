"""How a network is trained: presets by name, and the parts that they are made of."""
