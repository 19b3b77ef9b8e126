"""The YAML search-space DSL, architectures, genomes, and the lowering of architectures to a Graph."""
