"""Local resources for Pulumi: a provider plugin, and the supervision of processes it is built on."""
