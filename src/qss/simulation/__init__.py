"""Virtual time, network and disk that run the real cores; for tests and for planners."""
