"""How fast wengert is beside its peers: `python -m benchmarks`; README.md tells how it measures."""
