"""The Pulumi engine: getting it, its settings for a project, and its operations with typed results."""
