"""What runs inside the environment of Airflow: the program that runs the DAGs of a file, and its parts.

Nothing here imports a package that this environment lacks: the standard library, this package, airflow and what that
needs.
"""
