"""A task whose process dies without a word: it is retried, as with any worker that is lost."""
import os
import signal
from datetime import datetime, timedelta

from airflow.sdk import dag, task


@dag(schedule=None, start_date=datetime(2024, 1, 1))
def killed():
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def dies_once(ti=None):
        if ti.try_number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        print("lived")

    dies_once()


killed()
