"""What runs the real cores without input or output: so far a store in memory that keeps the real one's contract."""
