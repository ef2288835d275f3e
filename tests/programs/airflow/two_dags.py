"""Two DAGs in one file; the first triggers the second and waits for it."""
from datetime import datetime

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, task

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
