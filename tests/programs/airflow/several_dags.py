"""Several DAGs of Airflow 3 in one file: classic operators, the TaskFlow API, branches, mapping, one that triggers."""
import json
import os
import signal
import textwrap
import time
from datetime import datetime, timedelta

import pendulum
from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Label, TaskGroup, Variable, chain, dag, task, task_group

from reports.text import headline


# An ETL with the TaskFlow API, as Airflow's tutorial writes it.
@dag(
    schedule=None,
    start_date=pendulum.datetime(2021, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example"],
)
def taskflow_etl():
    @task()
    def extract(dag_run=None):
        factor = (dag_run.conf or {}).get("factor", 1)
        orders = json.loads('{"1001": 301.27, "1002": 433.21, "1003": 502.22}')
        return {order: value * factor for order, value in orders.items()}

    @task(multiple_outputs=True)
    def transform(order_data: dict):
        return {"total_order_value": sum(order_data.values())}

    @task()
    def load(total_order_value: float, ds=None):
        print(f"Total order value is: {total_order_value:.2f} on {ds}")

    order_data = extract()
    order_summary = transform(order_data)
    load(order_summary["total_order_value"])


taskflow_etl()


# Classic operators with templates, retries that are needed, a sibling module and a group of tasks.
with DAG(
    "classic",
    default_args={"depends_on_past": False, "retries": 1, "retry_delay": timedelta(seconds=1)},
    description="A simple tutorial DAG",
    schedule=timedelta(days=1),
    start_date=datetime(2021, 1, 1),
    catchup=False,
    params={"place": "here"},
    user_defined_macros={"headline": headline},
) as classic:
    t1 = BashOperator(task_id="print_date", bash_command="echo $(date -d '{{ ds }}' +%Y/%m/%d) {{ params.place }}")

    def fail_first(ti=None, **context):
        if ti.try_number == 1:
            raise RuntimeError("the first try fails")
        print("worked at try", ti.try_number)
        return Variable.get("colour", default="grey")

    def die_first(ti=None):
        if ti.try_number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        print("lived at try", ti.try_number)

    PythonOperator(task_id="dies_once", python_callable=die_first)
    t2 = PythonOperator(task_id="flaky", python_callable=fail_first)
    t3 = BashOperator(
        task_id="templated",
        depends_on_past=False,
        bash_command=textwrap.dedent(
            """
            {% for i in range(2) %}
            echo "{{ ds }} plus 7 is {{ macros.ds_add(ds, 7)}}"
            {% endfor %}
            echo "colour {{ ti.xcom_pull(task_ids='flaky') }}: {{ headline(task.task_id) }}"
            """
        ),
    )
    with TaskGroup("closing") as closing:
        BashOperator.partial(task_id="say", env={"KIND": "mapped"}, append_env=True).expand(
            bash_command=["echo $KIND one", "echo $KIND two"]
        )
    t1 >> t2 >> t3 >> closing


# Branches, trigger rules, skips and teardown; the run is a success although a task is made to fail.
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


# Dynamic task mapping: tasks made from what an earlier task returned, two at a time.
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


# The first of these triggers the second and waits for it.
with DAG("controller", schedule=None, start_date=datetime(2024, 1, 1)):
    TriggerDagRunOperator(
        task_id="trigger",
        trigger_dag_id="target",
        conf={"message": "Hello World"},
        wait_for_completion=True,
        poke_interval=1,
    )

with DAG("target", schedule=None, start_date=datetime(2024, 1, 1)):

    @task
    def run_this(dag_run=None):
        print("Remotely received value:", dag_run.conf.get("message"))

    run_this()
