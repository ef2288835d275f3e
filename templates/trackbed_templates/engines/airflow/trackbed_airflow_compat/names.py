"""What Airflow 3 removed, and what took its place."""

from __future__ import annotations

STANDARD = "airflow.providers.standard"

# Module that is gone -> the one that has the same names now.
MOVED_MODULES = {
    "airflow.contrib.hooks.fs_hook": f"{STANDARD}.hooks.filesystem",
    "airflow.contrib.operators.dagrun_operator": f"{STANDARD}.operators.trigger_dagrun",
    "airflow.contrib.sensors.bash_sensor": f"{STANDARD}.sensors.bash",
    "airflow.contrib.sensors.file_sensor": f"{STANDARD}.sensors.filesystem",
    "airflow.contrib.sensors.python_sensor": f"{STANDARD}.sensors.python",
    "airflow.contrib.sensors.weekday_sensor": f"{STANDARD}.sensors.weekday",
    "airflow.contrib.utils.weekday": f"{STANDARD}.utils.weekday",
    "airflow.datasets": "airflow.sdk",
    "airflow.hooks.base_hook": "airflow.sdk",
    "airflow.hooks.dbapi": "airflow.providers.common.sql.hooks.sql",
    "airflow.hooks.dbapi_hook": "airflow.providers.common.sql.hooks.sql",
    "airflow.models.mappedoperator": "airflow.sdk.definitions.mappedoperator",
    "airflow.operators.bash_operator": f"{STANDARD}.operators.bash",
    "airflow.operators.branch_operator": "airflow.sdk.bases.branch",
    "airflow.operators.check_operator": "airflow.providers.common.sql.operators.sql",
    "airflow.operators.dagrun_operator": f"{STANDARD}.operators.trigger_dagrun",
    "airflow.operators.dummy": f"{STANDARD}.operators.empty",
    "airflow.operators.dummy_operator": f"{STANDARD}.operators.empty",
    "airflow.operators.email_operator": "airflow.providers.smtp.operators.smtp",
    "airflow.operators.latest_only_operator": f"{STANDARD}.operators.latest_only",
    "airflow.operators.python_operator": f"{STANDARD}.operators.python",
    "airflow.operators.sensors": f"{STANDARD}.sensors.external_task",
    "airflow.operators.sql": "airflow.providers.common.sql.operators.sql",
    "airflow.sensors.base_sensor_operator": "airflow.sdk",
    "airflow.sensors.date_time_sensor": f"{STANDARD}.sensors.date_time",
    "airflow.sensors.external_task_sensor": f"{STANDARD}.sensors.external_task",
    "airflow.sensors.python_sensor": f"{STANDARD}.sensors.python",
    "airflow.sensors.sql": "airflow.providers.common.sql.sensors.sql",
    "airflow.sensors.sql_sensor": "airflow.providers.common.sql.sensors.sql",
    "airflow.sensors.time_delta_sensor": f"{STANDARD}.sensors.time_delta",
    "airflow.sensors.time_sensor": f"{STANDARD}.sensors.time",
    "airflow.sensors.weekday_sensor": f"{STANDARD}.sensors.weekday",
    "airflow.utils.weekday": f"{STANDARD}.utils.weekday",
}

# The same, for modules that are in a package which the DAG's project must install.
MOVED_TO_PROVIDERS = {
    "airflow.hooks.http_hook": ("airflow.providers.http.hooks.http", "http"),
    "airflow.hooks.mysql_hook": ("airflow.providers.mysql.hooks.mysql", "mysql"),
    "airflow.hooks.postgres_hook": ("airflow.providers.postgres.hooks.postgres", "postgres"),
    "airflow.hooks.S3_hook": ("airflow.providers.amazon.aws.hooks.s3", "amazon"),
    "airflow.hooks.sqlite_hook": ("airflow.providers.sqlite.hooks.sqlite", "sqlite"),
    "airflow.operators.docker_operator": ("airflow.providers.docker.operators.docker", "docker"),
    "airflow.operators.http_operator": ("airflow.providers.http.operators.http", "http"),
    "airflow.operators.mysql_operator": ("airflow.providers.mysql.operators.mysql", "mysql"),
    "airflow.operators.postgres_operator": ("airflow.providers.postgres.operators.postgres", "postgres"),
    "airflow.operators.sqlite_operator": ("airflow.providers.sqlite.operators.sqlite", "sqlite"),
    "airflow.sensors.http_sensor": ("airflow.providers.http.sensors.http", "http"),
}

# Packages of modules that are all gone; they must be importable for the modules in them to be found.
REMOVED_PACKAGES = frozenset(
    {
        "airflow.contrib",
        "airflow.contrib.hooks",
        "airflow.contrib.operators",
        "airflow.contrib.sensors",
        "airflow.contrib.utils",
    }
)

# Module that is gone -> why no other name does the same.
IMPOSSIBLE_MODULES = dict.fromkeys(
    ("airflow.operators.subdag", "airflow.operators.subdag_operator"),
    "SubDAGs are gone from Airflow 3 and nothing runs them; group tasks by `with TaskGroup(...)` of airflow.sdk",
)

# Name within a moved module -> its present name.
RENAMED_CLASSES = {
    "CheckOperator": "SQLCheckOperator",
    "Dataset": "Asset",
    "DatasetAlias": "AssetAlias",
    "DummyOperator": "EmptyOperator",
    "SimpleHttpOperator": "HttpOperator",
    "ValueCheckOperator": "SQLValueCheckOperator",
}

# Class that could be imported from a package itself, in Airflow 1.8 -> the module that has it now.
PACKAGE_CLASSES = {
    "airflow.operators": {
        "BashOperator": f"{STANDARD}.operators.bash",
        "BranchPythonOperator": f"{STANDARD}.operators.python",
        "DummyOperator": f"{STANDARD}.operators.empty",
        "PythonOperator": f"{STANDARD}.operators.python",
        "ShortCircuitOperator": f"{STANDARD}.operators.python",
        "TriggerDagRunOperator": f"{STANDARD}.operators.trigger_dagrun",
    },
    "airflow.sensors": {"ExternalTaskSensor": f"{STANDARD}.sensors.external_task"},
}

# Argument that is gone -> its present name, or None where it has no effect any more.
DAG_ARGUMENTS = {
    "concurrency": "max_active_tasks",
    "default_view": None,
    "fail_stop": "fail_fast",
    "full_filepath": None,
    "orientation": None,
    "schedule_interval": "schedule",
    "sla_miss_callback": None,
    "timetable": "schedule",
}
OPERATOR_ARGUMENTS = {
    "adhoc": None,
    "max_active_tis": "max_active_tis_per_dag",
    "provide_context": None,
    "sla": None,
    "task_concurrency": "max_active_tis_per_dag",
    "xcom_push": "do_xcom_push",
}
TRIGGER_RULES = {
    "dummy": "always",
    "none_failed_or_skipped": "none_failed_min_one_success",
}
