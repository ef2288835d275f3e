"""The components an environment is made of, and the targets they stand on."""
