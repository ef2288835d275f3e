import os

from metaflow import FlowSpec, Parameter, card, step


class SmallFlow(FlowSpec):
    n_trials = Parameter("n_trials", default=3)

    @card
    @step
    def start(self):
        print(f"{self.n_trials} trials")
        self.next(self.end)

    @step
    def end(self):
        if os.environ.get("BREAK"):
            raise RuntimeError("broken on purpose")


if __name__ == "__main__":
    SmallFlow()
