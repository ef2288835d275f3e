"""An ETL in the style of the tutorials of Airflow 1.10."""
from datetime import timedelta

from airflow import DAG
from airflow.operators.bash_operator import BashOperator
from airflow.operators.dummy_operator import DummyOperator
from airflow.operators.python_operator import PythonOperator
from airflow.utils.dates import days_ago

default_args = {
    "owner": "airflow",
    "depends_on_past": False,
    "start_date": days_ago(2),
    "email": ["airflow@example.com"],
    "email_on_failure": False,
    "email_on_retry": False,
    "retries": 1,
    "retry_delay": timedelta(seconds=1),
    "provide_context": True,
}


def extract(ds, **kwargs):
    print("extracting for", ds, "run", kwargs["run_id"])
    kwargs["ti"].xcom_push(key="orders", value=[3, 5, 8])


def transform(**context):
    orders = context["task_instance"].xcom_pull(key="orders", task_ids="extract")
    total = sum(orders)
    print("execution date is", context["execution_date"].strftime("%Y-%m-%d"))
    print("from", context["prev_ds"], "to", context["next_ds"], "via", context["tomorrow_ds"])
    return total


def load(**context):
    total = context["ti"].xcom_pull(task_ids="transform")
    print("loaded", total)


dag = DAG(
    "old_etl",
    default_args=default_args,
    description="A simple tutorial DAG",
    schedule_interval=timedelta(days=1),
    concurrency=2,
)

start = DummyOperator(task_id="start", dag=dag)
t1 = PythonOperator(task_id="extract", python_callable=extract, provide_context=True, dag=dag)
t2 = PythonOperator(task_id="transform", python_callable=transform, provide_context=True, dag=dag)
t3 = PythonOperator(task_id="load", python_callable=load, provide_context=True, dag=dag)
report = BashOperator(
    task_id="report",
    bash_command="echo report of {{ ds }} yesterday={{ yesterday_ds }} at {{ execution_date.year }}",
    xcom_push=True,
    dag=dag,
)

start.set_downstream(t1)
t2.set_upstream(t1)
t2 >> t3 >> report

if __name__ == "__main__":
    dag.cli()
