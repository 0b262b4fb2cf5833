"""Job files: one strict YAML for each command, typed."""
