"""An ETL with the TaskFlow API, as Airflow's tutorial writes it."""
import json

import pendulum
from airflow.sdk import dag, task


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
