"""Branches, trigger rules, skips and teardown; the run is a success although a task is made to fail."""
import pendulum
from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Label, chain, dag, task


@dag(schedule=None, start_date=pendulum.datetime(2024, 1, 1, tz="UTC"))
def branching():
    @task.branch
    def choose(params=None):
        return ["accurate", "quick"]

    @task
    def accurate():
        print("accurate ran")

    @task
    def quick():
        raise AirflowSkipException("nothing to do")

    @task
    def inaccurate():
        raise AssertionError("the branch was not chosen")

    @task
    def breaks():
        raise ValueError("made to fail")

    @task(trigger_rule="one_failed")
    def repair():
        print("repaired")

    @task(trigger_rule="all_done")
    def report(ti=None):
        print("reported whatever happened")

    @task.short_circuit(trigger_rule="none_failed_min_one_success")
    def stop():
        return False

    join = EmptyOperator(task_id="join", trigger_rule="none_failed_min_one_success")
    chosen = choose()
    chain(chosen, Label("best"), [accurate(), quick(), inaccurate()], join, stop(), EmptyOperator(task_id="never"))
    broken = breaks()
    mended = repair()
    broken >> mended >> report()


branching()
