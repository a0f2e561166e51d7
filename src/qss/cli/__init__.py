"""The `qss` command. Modules here read the command line, call the rooms below, and print; they decide nothing."""
