"""What runs inside the environments of the KFP SDK: drivers of its local execution and what they share.

Nothing here imports a package that those environments lack: the standard library, this package, and in the drivers kfp.
"""
