"""The calculator of the Kubeflow Pipelines v1 tutorial."""

import kfp
import kfp.components as comp
from kfp import dsl


def add(a: float, b: float) -> float:
    """Calculates sum of two arguments"""
    return a + b


add_op = comp.create_component_from_func(add, base_image="python:3.7")


def my_divmod(dividend: float, divisor: float, log_path: comp.OutputPath(str)):
    quotient, remainder = divmod(dividend, divisor)
    with open(log_path, "w") as file:
        file.write(f"quotient {quotient}, remainder {remainder}")


def read_log(log_path: comp.InputPath(str)) -> str:
    with open(log_path) as file:
        return file.read()


divmod_op = comp.func_to_container_op(my_divmod)
read_op = comp.func_to_container_op(read_log)


@dsl.pipeline(name="Calculation pipeline", description="A toy pipeline that performs arithmetic calculations.")
def calc_pipeline(a="a", b="7", c: float = 17.0):
    add_task = add_op(a, 4)
    divmod_task = divmod_op(add_op(add_task.output, b).output, c)
    read_op(divmod_task.outputs["log"])


if __name__ == "__main__":
    kfp.Client().create_run_from_pipeline_func(calc_pipeline, arguments={"a": "7", "b": "8"})
