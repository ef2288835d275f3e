"""A DAG whose task is still at work when somebody stops it."""
import os
import time
from datetime import datetime

from airflow.sdk import dag, task


@dag(schedule=None, start_date=datetime(2024, 1, 1))
def sleeps():
    @task
    def sleep():
        print("task process", os.getpid(), flush=True)
        time.sleep(600)

    sleep()


sleeps()
