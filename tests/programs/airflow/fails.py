"""A DAG that fails after its retry, with a callback that is told, and one whose time has not come."""
from datetime import datetime, timedelta

from airflow.sdk import DAG, task


def tell(context):
    print("callback: the run failed in", context["ti"].task_id)


with DAG("fails", schedule=None, start_date=datetime(2024, 1, 1), on_failure_callback=tell):

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def broken():
        raise RuntimeError("it always fails")

    @task
    def after():
        raise AssertionError("must not run")

    @task
    def beside():
        print("beside ran")

    broken() >> after()
    beside()

with DAG("later", schedule="@daily", start_date=datetime(2100, 1, 1)):

    @task
    def much_later():
        raise AssertionError("must not run")

    much_later()
