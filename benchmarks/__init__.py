"""What `make bench` runs: the product measured beside a baseline, in the same run on the same machine.

`python -m benchmarks [row …]`. Each row prints a ratio against its baseline: figures of different machines, or of
different runs, say nothing beside each other. `measuring` times, `surroundings` makes the servers, `peers` are the
programs we stand beside, the rest are rows (`imap_sync`, `inbox`, `search` …) and what they need. Nothing of the
product imports this.
"""
