from kfp import dsl
from kfp.dsl import PipelineTaskFinalStatus


@dsl.component
def load(path: str) -> str:
    with open(path) as file:
        return file.read()


@dsl.component
def report(text: str):
    print("never reached", text)


@dsl.component
def clean_up(status: PipelineTaskFinalStatus):
    print("cleaning up after", status.state)


@dsl.pipeline(name="failing")
def failing(path: str = "/no/such/file"):
    cleaning = clean_up()
    with dsl.ExitHandler(cleaning):
        loaded = load(path=path)
        report(text=loaded.output)
