"""The command line: one module per group of commands; `cli` declares them all."""
