from kfp import dsl


def echo_op(text):
    return dsl.ContainerOp(
        name="echo",
        image="example.com/echo:1",
        command=["sh", "-c"],
        arguments=[f'echo "{text}" > /data/said.txt'],
        file_outputs={"said": "/data/said.txt"},
    )


@dsl.pipeline(name="echo")
def echo_pipeline(text: str = "hi"):
    echo_op(text)
