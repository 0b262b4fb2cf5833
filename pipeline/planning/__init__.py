"""What a run has to do, decided without Ray: the plan, its scoring key, what can be wrong before the first unit."""
