"""The resource types of the local provider, in plain Python: one file each, without Pulumi."""
