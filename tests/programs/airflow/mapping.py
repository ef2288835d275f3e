"""Dynamic task mapping: tasks made from what an earlier task returned, two at a time."""
import os
import time
from datetime import datetime

from airflow.sdk import dag, task, task_group


@dag(schedule="@daily", start_date=datetime(2022, 3, 4), catchup=False)
def mapping():
    @task
    def numbers():
        return [1, 2, 3, 4]

    @task
    def add_one(x: int):
        started = time.time()
        time.sleep(0.5)
        return {"value": x + 1, "started": started, "ended": time.time(), "pid": os.getpid()}

    @task
    def sum_it(results):
        results = list(results)
        print("total was", sum(each["value"] for each in results))
        assert len({each["pid"] for each in results}) == len(results), "every task is a process of its own"
        side_by_side = any(
            a["started"] < b["started"] < a["ended"] for a in results for b in results
        )
        print("ran side by side:", side_by_side)

    @task_group
    def double_and_print(x):
        @task
        def double(value):
            return value * 2

        @task
        def show(value):
            print("doubled", value)

        show(double(x))

    sum_it(add_one.expand(x=numbers()))
    double_and_print.expand(x=[10, 20])


mapping()
