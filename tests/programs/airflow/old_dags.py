"""Several DAGs in one file that was begun with Airflow 1.10 and went on with Airflow 2."""
import os
import tempfile
from datetime import datetime, timedelta

import airflow
import pendulum
from airflow.contrib.sensors.file_sensor import FileSensor
from airflow.decorators import dag, task
from airflow.models import BaseOperator, DAG, Variable
from airflow.operators import dummy
from airflow.operators.bash_operator import BashOperator
from airflow.operators.dummy_operator import DummyOperator
from airflow.operators.python import get_current_context
from airflow.operators.python_operator import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.utils.dates import days_ago
from airflow.utils.decorators import apply_defaults
from airflow.utils.edgemodifier import Label
from airflow.utils.task_group import TaskGroup
from airflow.utils.trigger_rule import TriggerRule


# Branching, a sensor and an operator of one's own, as in Airflow 1.10.
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

old_branch = DAG(
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


make = PythonOperator(task_id="make_marker", python_callable=make_marker, provide_context=True, dag=old_branch)
wait = FileSensor(task_id="wait_for_marker", filepath=marker, poke_interval=1, dag=old_branch)
branch = BranchPythonOperator(task_id="choose", python_callable=choose, provide_context=True, dag=old_branch)
hello = HelloOperator(task_id="hello", name="{{ dag.dag_id }}", dag=old_branch)
old_times = DummyOperator(task_id="old_times", dag=old_branch)
join = DummyOperator(task_id="join", trigger_rule=TriggerRule.NONE_FAILED_OR_SKIPPED, dag=old_branch)
stop = ShortCircuitOperator(task_id="stop", python_callable=lambda: False, dag=old_branch)
never = DummyOperator(task_id="never", dag=old_branch)

make >> wait >> branch >> [hello, old_times] >> join >> stop >> never


# Templated commands, as the tutorial of Airflow 1.10 taught them.
args = {
    "owner": "airflow",
    "start_date": datetime(2019, 1, 1),
    "task_concurrency": 1,
}

old_templates = DAG(
    dag_id="old_templates",
    default_args=args,
    schedule_interval="0 0 * * *",
    dagrun_timeout=timedelta(minutes=60),
    catchup=False,
)

greeting = Variable.get("greeting", default_var="hello")

templated_command = """
{% for i in range(2) %}
    echo "{{ ds }}"
    echo "week {{ macros.ds_add(ds, 7) }}"
    echo "{{ params.my_param }}"
{% endfor %}
echo "window {{ prev_ds }} {{ next_ds }} {{ ds_nodash }} {{ next_execution_date.strftime('%A') }}"
"""

t1 = BashOperator(
    task_id="templated",
    depends_on_past=False,
    bash_command=templated_command,
    params={"my_param": "Parameter I passed in"},
    dag=old_templates,
)
t2 = BashOperator(task_id="greet", bash_command="echo " + greeting + " {{ yesterday_ds_nodash }}", dag=old_templates)
t2.set_upstream(t1)


# Airflow 2 before 2.4: `schedule_interval` with the decorator API and the packages of that time.
@dag(
    default_args={"owner": "airflow"},
    schedule_interval="@daily",
    start_date=days_ago(1),
    tags=["example"],
    default_view="graph",
    concurrency=4,
)
def old_two_point_oh():
    @task(multiple_outputs=True)
    def extract():
        return {"first": 301.27, "second": 433.21}

    @task
    def total(first: float, second: float, execution_date=None, **kwargs):
        assert execution_date == get_current_context()["logical_date"]
        assert isinstance(execution_date, pendulum.DateTime)
        return first + second

    @task
    def show(value, ti=None):
        print(f"Total order value is: {value:.2f} on {ti.execution_date.date()}")

    data = extract()
    summed = total(data["first"], data["second"])
    done = dummy.DummyOperator(task_id="done")
    with TaskGroup("section", tooltip="Tasks of the section") as section:
        dummy.DummyOperator(task_id="a") >> BashOperator(task_id="b", bash_command="echo {{ ti.xcom_pull('total') }}")
    show(summed) >> Label("then") >> section >> done


workflow = old_two_point_oh()
