from typing import List

import kfp
from kfp import dsl


@dsl.component
def square(number: int) -> int:
    return number * number


@dsl.component
def total(numbers: List[int]) -> int:
    return sum(numbers)


@dsl.component
def judge(value: int, limit: int) -> str:
    return "large" if value > limit else "small"


@dsl.component
def announce(message: str) -> str:
    print(message)
    return message


@kfp.dsl.pipeline
def squares(numbers: List[int]) -> int:
    with dsl.ParallelFor(numbers, parallelism=2) as number:
        squared = square(number=number)
    return total(numbers=dsl.Collected(squared.output)).output


@kfp.dsl.pipeline(name="control-flow")
def control_flow(numbers: List[int] = [1, 2, 3], limit: int = 10) -> str:
    summed = squares(numbers=numbers)
    verdict = judge(value=summed.output, limit=limit)
    with dsl.If(verdict.output == "large"):
        large = announce(message=f"{summed.output} is large")
    with dsl.Else():
        small = announce(message=f"{summed.output} is small")
    return dsl.OneOf(large.output, small.output)
