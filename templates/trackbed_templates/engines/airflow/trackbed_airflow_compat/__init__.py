"""The parts of airflow_local_settings.py, which says what they do."""
