"""Airflow 2 before 2.4: `schedule_interval` with the decorator API and the packages of that time."""
import pendulum
from airflow.decorators import dag, task
from airflow.operators.bash import BashOperator
from airflow.operators.dummy import DummyOperator
from airflow.operators.python import get_current_context
from airflow.utils.dates import days_ago
from airflow.utils.edgemodifier import Label
from airflow.utils.task_group import TaskGroup


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
    done = DummyOperator(task_id="done")
    with TaskGroup("section", tooltip="Tasks of the section") as section:
        DummyOperator(task_id="a") >> BashOperator(task_id="b", bash_command="echo {{ ti.xcom_pull('total') }}")
    show(summed) >> Label("then") >> section >> done


workflow = old_two_point_oh()
