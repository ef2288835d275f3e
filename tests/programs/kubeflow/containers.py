from kfp import dsl
from kfp.dsl import Dataset, Input, Output

UPPER = """\
name: Upper
inputs:
- {name: Text, type: String}
outputs:
- {name: Shouted, type: String}
implementation:
  container:
    image: example.com/shout:1
    command: [sh, -c, 'printf "%s" "$0" | tr a-z A-Z > "$1"']
    args: [{inputValue: Text}, {outputPath: Shouted}]
"""


@dsl.container_component
def write_data(greeting: str, data: Output[Dataset]):
    return dsl.ContainerSpec(
        image="example.com/greeter:1",
        command=["sh", "-c", 'printf "%s from python3 at %s" "$0" "$MLFLOW_TRACKING_URI" > "$1"'],
        args=[greeting, data.path],
    )


@dsl.component
def read_data(data: Input[Dataset]) -> str:
    with open(data.path) as file:
        return file.read()


upper = __import__("kfp").components.load_component_from_text(UPPER)


@dsl.pipeline(name="in-containers")
def in_containers(greeting: str = "hello") -> str:
    written = write_data(greeting=greeting)
    read = read_data(data=written.outputs["data"])
    return upper(text=read.output).outputs["shouted"]
