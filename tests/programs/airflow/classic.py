"""Classic operators with templates, retries that are needed, a sibling module and a group of tasks."""
import os
import signal
import textwrap
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, TaskGroup, Variable

from reports.text import headline

with DAG(
    "classic",
    default_args={"depends_on_past": False, "retries": 1, "retry_delay": timedelta(seconds=1)},
    description="A simple tutorial DAG",
    schedule=timedelta(days=1),
    start_date=datetime(2021, 1, 1),
    catchup=False,
    params={"place": "here"},
    user_defined_macros={"headline": headline},
) as dag:
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
