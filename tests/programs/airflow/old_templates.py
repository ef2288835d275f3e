"""Templated commands, as the tutorial of Airflow 1.10 taught them."""
from datetime import datetime, timedelta

from airflow.models import DAG, Variable
from airflow.operators.bash_operator import BashOperator

args = {
    "owner": "airflow",
    "start_date": datetime(2019, 1, 1),
    "task_concurrency": 1,
}

dag = DAG(
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
    echo "{{ macros.ds_add(ds, 7) }}"
    echo "{{ params.my_param }}"
{% endfor %}
echo "window {{ prev_ds }} {{ next_ds }} {{ ds_nodash }} {{ next_execution_date.strftime('%A') }}"
"""

t1 = BashOperator(
    task_id="templated",
    depends_on_past=False,
    bash_command=templated_command,
    params={"my_param": "Parameter I passed in"},
    dag=dag,
)
t2 = BashOperator(task_id="greet", bash_command="echo " + greeting + " {{ yesterday_ds_nodash }}", dag=dag)
t2.set_upstream(t1)
