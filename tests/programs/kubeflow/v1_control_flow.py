import kfp
from kfp import dsl
from kfp.components import func_to_container_op


@func_to_container_op
def flip_coin(side: str) -> str:
    return side


@func_to_container_op
def numbers(count: int) -> list:
    return list(range(count))


@func_to_container_op
def say(message: str):
    print("said:", message)


def coin_pipeline(side: str = "heads", count: int = 2):
    goodbye = say("it has {{workflow.status}}")
    with dsl.ExitHandler(goodbye):
        flip = flip_coin(side)
        with dsl.Condition(flip.output == "heads"):
            say("heads it is")
            with dsl.ParallelFor(numbers(count).output) as number:
                say(f"number {number}")
        with dsl.Condition(flip.output == "tails"):
            say("tails it is")


if __name__ == "__main__":
    kfp.compiler.Compiler().compile(coin_pipeline, __file__ + ".yaml")
