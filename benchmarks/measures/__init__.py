"""What is measured in other ways than by bursts: compilation, memory, the cost of a call."""
