"""Key rings: one module per place where a master key can be kept."""
