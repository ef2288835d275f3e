"""Steps that fail: one is tried again, the failure of the other is caught."""

from metaflow import FlowSpec, catch, current, retry, step


class StubbornFlow(FlowSpec):
    @retry(times=2, minutes_between_retries=0)
    @step
    def start(self):
        if current.retry_count == 0:
            raise RuntimeError("not at the first attempt")
        self.attempts = current.retry_count + 1
        self.next(self.divide)

    @catch(var="problem")
    @retry(times=0)
    @step
    def divide(self):
        self.quotient = 1 / 0
        self.next(self.end)

    @step
    def end(self):
        print("attempts", self.attempts, "problem", self.problem.type)


if __name__ == "__main__":
    StubbornFlow()
