"""Branching and sensors with the imports of Airflow 1.10."""
import os
import tempfile

import airflow
from airflow.contrib.sensors.file_sensor import FileSensor
from airflow.models import BaseOperator, DAG
from airflow.operators.dummy_operator import DummyOperator
from airflow.operators.python_operator import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.utils.decorators import apply_defaults
from airflow.utils.trigger_rule import TriggerRule


class HelloOperator(BaseOperator):
    template_fields = ("name",)
    ui_color = "#e8f7e4"

    @apply_defaults
    def __init__(self, name, *args, **kwargs):
        super(HelloOperator, self).__init__(*args, **kwargs)
        self.name = name

    def execute(self, context):
        message = "Hello {} from {}".format(self.name, context["execution_date"].date())
        print(message)
        return message


marker = os.path.join(tempfile.gettempdir(), "old_branch_marker")

dag = DAG(
    dag_id="old_branch",
    default_args={"owner": "airflow", "start_date": airflow.utils.dates.days_ago(1)},
    schedule_interval="@once",
    max_active_runs=1,
)


def make_marker(**kwargs):
    with open(marker, "w") as f:
        f.write(str(kwargs["execution_date"]))


def choose(**kwargs):
    return "hello" if kwargs["dag_run"].execution_date.year > 2000 else "old_times"


make = PythonOperator(task_id="make_marker", python_callable=make_marker, provide_context=True, dag=dag)
wait = FileSensor(task_id="wait_for_marker", filepath=marker, poke_interval=1, dag=dag)
branch = BranchPythonOperator(task_id="choose", python_callable=choose, provide_context=True, dag=dag)
hello = HelloOperator(task_id="hello", name="{{ dag.dag_id }}", dag=dag)
old_times = DummyOperator(task_id="old_times", dag=dag)
join = DummyOperator(task_id="join", trigger_rule=TriggerRule.NONE_FAILED_OR_SKIPPED, dag=dag)
stop = ShortCircuitOperator(task_id="stop", python_callable=lambda: False, dag=dag)
never = DummyOperator(task_id="never", dag=dag)

make >> wait >> branch >> [hello, old_times] >> join >> stop >> never
