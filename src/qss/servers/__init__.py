"""The interfaces that a site serves: authenticate, parse, ask the runtime, render. They decide nothing else."""
