"""The contract that every process and client shares: ids, chat ids, partitions, refusals, and JSON on the wire."""
