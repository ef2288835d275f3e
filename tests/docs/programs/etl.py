"""A DAG in the style of Airflow 1.10."""

from datetime import datetime

from airflow import DAG
from airflow.operators.python_operator import PythonOperator


def extract(ds, **context):
    print("extracting", ds)


with DAG("etl", start_date=datetime(2025, 1, 1), schedule_interval="@daily") as dag:
    PythonOperator(task_id="extract", python_callable=extract, provide_context=True)
