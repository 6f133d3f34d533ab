"""What is shown of the operator: metrics, logs, probes."""
