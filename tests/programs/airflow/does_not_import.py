"""A DAG file with a mistake."""
from airflow.sdk import DAG
from airflow.operators.subdag_operator import SubDagOperator

dag = DAG("does_not_import")
