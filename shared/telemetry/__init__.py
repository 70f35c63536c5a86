"""What a process says of itself: `logs` writes JSON lines, `health` answers probes."""
