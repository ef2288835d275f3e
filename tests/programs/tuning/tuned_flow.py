import mlflow
from metaflow import FlowSpec, Parameter, step


class TunedFlow(FlowSpec):
    """Trains in one task and evaluates in another, each a process of its own."""

    x = Parameter("x", type=float, default=0.0)

    @step
    def start(self):
        self.loss = (self.x - 3) ** 2
        self.next(self.end)

    @step
    def end(self):
        with mlflow.start_run():
            mlflow.log_metric("loss", self.loss)


if __name__ == "__main__":
    TunedFlow()
