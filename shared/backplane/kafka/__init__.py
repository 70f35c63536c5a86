"""The distributed twin of the backplane: one thread that runs kafka-python."""
