"""The hello world of Kubeflow Pipelines: a file that only compiles itself."""

from kfp import compiler, dsl


@dsl.component
def say_hello(name: str, times: int, excited: bool) -> str:
    mark = "!" if excited else "."
    hello_text = " ".join([f"Hello, {name}{mark}"] * times)
    print(hello_text)
    return hello_text


@dsl.pipeline(name="hello-pipeline", description="Says hello.")
def hello_pipeline(recipient: str, times: int = 1, excited: bool = True) -> str:
    hello_task = say_hello(name=recipient, times=times, excited=excited)
    return hello_task.output


if __name__ == "__main__":
    compiler.Compiler().compile(hello_pipeline, "hello_pipeline.yaml")
