"""What may be built: the YAML search-space DSL, architectures, genomes, and their lowering to a Graph."""
